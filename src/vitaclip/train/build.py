"""From a config to a trainer: everything that training needs is built here and nowhere else."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout
from torch.optim import AdamW

from vitaclip.backbones.loading import load_backbone
from vitaclip.config import OptimConfig, TrainConfig, to_dict
from vitaclip.data import (
    TrainBatch,
    TrainDataset,
    TrainTransform,
    VideoList,
    draw_shots,
    expect_processes,
    frame_sampling,
    index_cache,
    list_text,
    read_videos,
    train_batches,
)
from vitaclip.distributed import SINGLE_PROCESS, DistEnv
from vitaclip.evaluate.evaluation import Evaluation
from vitaclip.files import check_own, remove_leftovers, write_json, write_text
from vitaclip.model import VideoModel
from vitaclip.runtime import autocast, pick_device_among
from vitaclip.saving.model_folder import MODEL_FOLDER, check_folder
from vitaclip.train.average import PromptAverage
from vitaclip.train.checkpoint import Checkpoint, CheckpointStore, put_back
from vitaclip.train.comparison import changed_files, check_same_run, check_texts, identity
from vitaclip.train.features import feature_batches
from vitaclip.train.loggers import BadVideoList, Logger, Metrics, read_metric, run_loggers
from vitaclip.train.losses import find_loss
from vitaclip.train.mixing import draw_mix, share_of_step
from vitaclip.train.schedule import total_steps
from vitaclip.train.stopping import Terminated
from vitaclip.train.trainer import Trainer
from vitaclip.train.validations import Validations
from vitaclip.untrusted import reading

CONFIG_FILE, METRICS_FILE, BAD_VIDEOS_FILE = "config.json", "metrics.jsonl", "bad_videos.txt"
TRAIN_LIST_FILE, WARNINGS_FILE, LOCK_FILE = "train_list.csv", "warnings.txt", ".lock"
CHECKPOINT_FOLDER = "checkpoints"


@dataclass(frozen=True)
class _Parts:
    """What is read before the processes of a run have anything to say to each other."""

    videos: VideoList
    steps: int
    model: VideoModel
    validate: Callable[[], Metrics] | None
    places: range


@dataclass(frozen=True)
class _Past:
    """What a stopped run left: nothing, if there was none."""

    checkpoint: Checkpoint | None
    values: dict[int, float]
    warnings: list[str]


def build_trainer(
    config: TrainConfig,
    extra_loggers: Iterable[Logger] = (),
    dist: DistEnv = SINGLE_PROCESS,
    asked_to_stop: Callable[[], bool] = lambda: False,
    on_features: Callable[[int], Callable[[int], None]] = lambda _total: lambda _done: None,
) -> Trainer:
    """Read the lists, load the backbone, and put a trainer together; resumes from the run folder's newest checkpoint.

    Args:
        config: the run.
        extra_loggers: take metrics besides those of the run folder.
        dist: those that share the run; the first one alone reads and writes the run folder.
        asked_to_stop: whether the run is to save its state and end.
        on_features: where there is a feature cache, hears how many videos it is asked for when training starts;
            returns what is to be called with those just done.

    Raises:
        ValueError: for anything wrong with the config, the lists or the backbone, before training starts; and when
            the run folder holds a run with another config, class names or videos, or one that goes on right now.
    """
    parts = dist.run_on_all_ranks(lambda: _read_parts(config, dist, asked_to_stop))
    model, videos = parts.model, parts.videos
    identified = {**identity(config, videos), "backbone": model.fingerprint}
    lock = dist.run_on_all_ranks(lambda: lock_run_folder(Path(config.out)) if dist.is_rank0 else None)
    past = dist.broadcast_from_rank0(lambda: _read_past(config, identified))
    warnings = [*past.warnings, *([videos.note] if videos.note else [])]
    optimizer = build_optimizer(model, config.optim)
    decay = config.optim.average_decay
    average = PromptAverage(model.trainable_parameters(), decay) if decay else None
    step, bad_videos = 0, []
    if past.checkpoint is not None:
        if past.checkpoint.step > parts.steps:
            raise ValueError(
                f"{config.out}: holds a checkpoint of step {past.checkpoint.step} of {parts.steps}; delete it"
            )
        put_back(past.checkpoint.tensors, model, optimizer, average)
        step, bad_videos = past.checkpoint.step, past.checkpoint.notes["bad_videos"]
    folder = Path(config.out)
    loggers = list(extra_loggers)
    if dist.is_rank0:
        _write_inputs(config, videos, warnings)
        loggers = [*run_loggers(config, folder / METRICS_FILE, step), *loggers]
    return Trainer(
        model=model,
        class_names=videos.class_names,
        rows=videos.rows,
        embed=(
            (lambda features, _: features.to(model.dtype))
            if config.data.feature_cache
            else (lambda video, masks: model.encode_video(video, masks=masks))
        ),
        places=parts.places,
        batches=(
            feature_batches(config, model, videos, parts.places, dist, asked_to_stop, on_features)
            if config.data.feature_cache
            else _batches(config, model, videos, parts.places)
        ),
        validate=parts.validate,
        optimizer=optimizer,
        autocast=partial(autocast, config.runtime, model.device),
        checkpoints=CheckpointStore(folder / CHECKPOINT_FOLDER, config.keep_checkpoints),
        loggers=loggers,
        bad_videos=BadVideoList(folder / BAD_VIDEOS_FILE if dist.is_rank0 else None, bad_videos),
        draw_mix=partial(draw_mix, config.data.augment, model.image_size, config.seed),
        average=average,
        validations=Validations(config.early_stop_metric, config.early_stop_patience, past.values),
        config=config,
        identity=identified,
        dist=dist,
        asked_to_stop=asked_to_stop,
        steps=parts.steps,
        step=step,
        warnings=warnings,
        lock=lock,
    )


def build_optimizer(model: VideoModel, config: OptimConfig) -> AdamW:
    """AdamW over what trains, in one group, or in two: with weight decay and without."""
    parameters = list(model.trainable_parameters().values())
    decayed = [p for p in parameters if config.decayed == "all" or p.dim() >= 2]
    others = [p for p in parameters if config.decayed == "matrices" and p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return AdamW([group for group in groups if group["params"]], lr=config.learning_rate)


def _read_parts(config: TrainConfig, dist: DistEnv, asked_to_stop: Callable[[], bool]) -> _Parts:
    videos = training_videos(config)
    find_loss(config.optim.loss)  # an unknown one is said before anything is read
    steps = total_steps(config.optim, len(videos.rows))
    expect_processes(config.data)
    places = share_of_step(config.optim.batch_size, dist.rank, dist.world_size)
    device = pick_device_among(config.runtime.device, dist.local_rank, dist.world_size)
    backbone = load_backbone(config.model.backbone, image_size=config.model.image_size)
    model = VideoModel(backbone, config.model, videos.class_names, config.seed).to(device).prepare(config.runtime)
    validate = _validation(config, model, videos.class_names, dist, asked_to_stop)
    return _Parts(videos, steps, model, validate, places)


def lock_run_folder(folder: Path) -> BaseFileLock:
    """Keep other processes out of a run folder until the lock is released or this one ends, however it does.

    Raises:
        ValueError: if another one is in it.
    """
    check_own(folder / CONFIG_FILE, '"optim"')
    check_folder(folder / MODEL_FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(
        folder.resolve() / LOCK_FILE, is_singleton=True
    )  # this process may have stopped in the middle, and go on
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"{folder}: another run is writing there; let it end, or give this one another folder with --out (if there"
            f" is none, delete {folder / LOCK_FILE})"
        ) from None
    return lock


def _read_past(config: TrainConfig, now: dict[str, Any]) -> _Past:
    """What the run folder holds of this run.

    Raises:
        ValueError: if that was another run, or all its checkpoints are damaged.
    """
    folder = Path(config.out)
    remove_leftovers(folder)
    checkpoint, warnings = CheckpointStore(folder / CHECKPOINT_FOLDER, config.keep_checkpoints).newest()
    if checkpoint is not None:
        with reading(config.out, f"delete {CHECKPOINT_FOLDER} in it to start over"):
            check_same_run(checkpoint.notes, now, config.out)
            check_texts(checkpoint.notes["bad_videos"], "bad_videos")
        warnings += changed_files(checkpoint.notes, now)
    step = 0 if checkpoint is None else checkpoint.step
    return _Past(checkpoint, read_metric(folder / METRICS_FILE, config.early_stop_metric, step), warnings)


def _write_inputs(config: TrainConfig, videos: VideoList, warnings: Sequence[str]) -> None:
    """Leave in the run folder what the run starts from, and what was wrong with what it goes on from."""
    folder = Path(config.out)
    write_json(folder / CONFIG_FILE, to_dict(config))
    if config.data.shots:
        write_text(folder / TRAIN_LIST_FILE, list_text(videos.rows))
    if warnings:
        with (folder / WARNINGS_FILE).open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in warnings)


def training_videos(config: TrainConfig) -> VideoList:
    """The videos of `data.train`, or those of each class that `data.shots` draws."""
    data = config.data
    videos = read_videos(
        data.train, "data.train", root=data.root, classes=data.classes, cache=index_cache(data.index_cache)
    )
    several = next((row for row in videos.rows if len(row.labels) > 1), None)
    if several and config.optim.loss == "cross_entropy":
        raise ValueError(f"{several.source}: {several.path} has several labels; set optim.loss = bce, or give it one")
    if not data.shots:
        return videos
    seed = config.seed if data.shots_seed is None else data.shots_seed
    return replace(videos, rows=draw_shots(videos.rows, videos.class_names, data.shots, seed))


def _batches(
    config: TrainConfig, model: VideoModel, videos: VideoList, places: range
) -> Callable[[int, int], Iterable[TrainBatch]]:
    dataset = TrainDataset(
        videos.rows,
        frame_sampling(config.model.sampling, config.model.num_frames),
        TrainTransform(size=model.image_size, augment=config.data.augment),
        seed=config.seed,
        on_error=config.data.on_error,
        balance_classes=config.data.balance_classes,
        index_cache=index_cache(config.data.index_cache),
        limits=config.data.limits,
        pixel_aspect=config.data.pixel_aspect,
    )
    return partial(
        train_batches,
        dataset,
        batch_size=config.optim.batch_size,
        workers=config.data.workers,
        places=places,
        time_limit_seconds=config.data.time_limit_seconds,
    )


def _validation(
    config: TrainConfig,
    model: VideoModel,
    class_names: tuple[str, ...],
    dist: DistEnv,
    asked_to_stop: Callable[[], bool],
) -> Callable[[], Metrics] | None:
    if not config.data.val:
        return None
    videos = read_videos(
        config.data.val,
        "data.val",
        root=config.data.root,
        class_names=class_names,
        cache=index_cache(config.data.index_cache),
    )
    evaluation = Evaluation(model, videos.rows, class_names, config.views, config.runtime, config.data, dist=dist)

    def stop_if_asked(_: int) -> None:
        if asked_to_stop():
            raise Terminated

    def validate() -> Metrics:
        result = evaluation.run(stop_if_asked).result
        several = {} if result.mean_average_precision is None else {"val/mAP": result.mean_average_precision}
        figures = {"val/top1": result.top1, "val/top5": result.top5, **several}
        return {**figures, "val/left_out": float(len(result.skipped))}

    return validate


def run_training(config: TrainConfig, extra_loggers: Iterable[Logger] = ()) -> VideoModel:
    """Build a trainer, train to the end and write the model folder `OUT/model`; see `train_and_save`."""
    return train_and_save(build_trainer(config, extra_loggers))


def train_and_save(trainer: Trainer) -> VideoModel:
    """Train to the end and write the model folder `OUT/model`; returns the trained model, in evaluation mode."""
    try:
        try:
            trainer.train()
        finally:
            for logger in trainer.loggers:
                logger.close()
        trainer.keep_the_best()
        if trainer.dist.is_rank0:
            trainer.model.save_pretrained(Path(trainer.config.out) / MODEL_FOLDER)
    finally:
        if trainer.lock is not None:
            trainer.lock.release(force=True)  # also what an attempt before, in this process, left
    return trainer.model.eval()
