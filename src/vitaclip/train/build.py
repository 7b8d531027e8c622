"""From a config to a trainer: everything that training needs is built here and nowhere else."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from torch.optim import AdamW

from vitaclip.config import TrainConfig, to_dict
from vitaclip.data import (
    NamedVideos,
    TrainBatch,
    TrainDataset,
    TrainTransform,
    frame_sampling,
    index_cache,
    read_videos,
    train_batches,
)
from vitaclip.evaluate.evaluation import Evaluation
from vitaclip.files import write_json
from vitaclip.model import VitaCLIP
from vitaclip.runtime import autocast, pick_device
from vitaclip.train.checkpoint import CheckpointStore
from vitaclip.train.loggers import BadVideoList, Logger, Metrics, file_loggers
from vitaclip.train.trainer import Trainer
from vitaclip.weights.backbone import load_backbone

CONFIG_FILE, METRICS_FILE, BAD_VIDEOS_FILE = "config.json", "metrics.jsonl", "bad_videos.txt"
MODEL_FOLDER, CHECKPOINT_FOLDER = "model", "checkpoints"
MAY_CHANGE_ON_RESUME = frozenset(
    {"out", "runtime.device", "log_every", "validate_every", "checkpoint_every", "keep_checkpoints", "views"}
    | {"data.workers", "data.eval_batch_size", "data.val", "data.root", "data.index_cache"}
)
"""Fields that do not change what is learned. Any other difference between a run and its resumption is an error."""


def build_trainer(config: TrainConfig, extra_loggers: Iterable[Logger] = ()) -> Trainer:
    """Read the lists, load the backbone, and put a trainer together; resumes from the run folder's newest checkpoint.

    Raises:
        ValueError: for anything wrong with the config, the lists or the backbone, before training starts; and when
            the run folder holds a run with another config.
    """
    folder = Path(config.out)
    videos = read_videos(config.data.train, "data.train", root=config.data.root, classes=config.data.classes)
    device = pick_device(config.runtime.device)
    model = VitaCLIP(load_backbone(config.model.backbone), config.model, videos.class_names, config.seed).to(device)
    optimizer = build_optimizer(model, config)
    checkpoints = CheckpointStore(folder / CHECKPOINT_FOLDER, config.keep_checkpoints)
    step = _resume(checkpoints, model, optimizer, config)
    validate = _validation(config, model, videos.class_names)
    write_json(folder / CONFIG_FILE, to_dict(config))
    return Trainer(
        model=model,
        class_names=videos.class_names,
        batches=_batches(config, model, videos),
        validate=validate,
        optimizer=optimizer,
        autocast=partial(autocast, config.runtime, device),
        checkpoints=checkpoints,
        loggers=[*file_loggers(folder / METRICS_FILE, step), *extra_loggers],
        bad_videos=BadVideoList(folder / BAD_VIDEOS_FILE),
        config=config,
        step=step,
    )


def build_optimizer(model: VitaCLIP, config: TrainConfig) -> AdamW:
    """AdamW over what lives in the prompts."""
    parameters = list(model.trainable_parameters().values())
    return AdamW(parameters, lr=config.optim.learning_rate, weight_decay=config.optim.weight_decay)


def _batches(config: TrainConfig, model: VitaCLIP, videos: NamedVideos) -> Callable[[int, int], Iterable[TrainBatch]]:
    dataset = TrainDataset(
        videos.rows,
        frame_sampling(config.model.sampling, config.model.video.num_frames),
        TrainTransform(size=model.image_size, augment=config.data.augment),
        seed=config.seed,
        on_error=config.data.on_error,
        index_cache=index_cache(config.data.index_cache),
    )
    return partial(train_batches, dataset, batch_size=config.optim.batch_size, workers=config.data.workers)


def _validation(config: TrainConfig, model: VitaCLIP, class_names: tuple[str, ...]) -> Callable[[], Metrics] | None:
    if not config.data.val:
        return None
    videos = read_videos(config.data.val, "data.val", root=config.data.root, class_names=class_names)
    evaluation = Evaluation(model, videos.rows, class_names, config.views, config.runtime, config.data)

    def validate() -> Metrics:
        result = evaluation.run().result
        return {"val/top1": result.top1, "val/top5": result.top5, "val/left_out": float(len(result.left_out))}

    return validate


def _resume(checkpoints: CheckpointStore, model: VitaCLIP, optimizer: AdamW, config: TrainConfig) -> int:
    """Put the newest checkpoint back, if there is one; returns the steps done."""
    steps = checkpoints.steps()
    if not steps:
        return 0
    differences = sorted(_differences(checkpoints.config(steps[-1]), to_dict(config)))
    if differences:
        raise ValueError(
            f"{config.out} holds a run with another config: {'; '.join(differences)}."
            " Resume it with its own settings, or name another folder with --out"
        )
    checkpoints.restore(steps[-1], model.prompts, optimizer)
    return steps[-1]


def _differences(saved: object, now: object, path: str = "") -> Iterable[str]:
    """`field: saved value there, new value here` for every leaf that differs and may not."""
    if path in MAY_CHANGE_ON_RESUME or saved == now:
        return
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in sorted(saved.keys() | now.keys()):
            yield from _differences(saved.get(key), now.get(key), f"{path}.{key}" if path else key)
    else:
        yield f"{path} was {saved!r}, now {now!r}"


def run_training(config: TrainConfig, extra_loggers: Iterable[Logger] = ()) -> VitaCLIP:
    """Train to the end and write the model folder `OUT/model`; returns the trained model, in evaluation mode."""
    trainer = build_trainer(config, extra_loggers)
    try:
        trainer.train()
    finally:
        for logger in trainer.loggers:
            logger.close()
    trainer.model.save_pretrained(Path(config.out) / MODEL_FOLDER)
    return trainer.model.eval()
