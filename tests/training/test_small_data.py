"""Settings for small data: what each does to a step, that the run keeps it, and that resuming stays exact."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from small_world import (
    NAMES,
    changed,
    interrupt_at,
    lines_of,
    prompts_of,
    random_batch,
    same,
    train_config,
    write_list,
)
from vitaclip.data.lists.video_list import read_list
from vitaclip.data.loading.loader import TrainBatch
from vitaclip.training.config import TrainConfig
from vitaclip.training.inputs import draw_mix
from vitaclip.training.trainer import Trainer


def validated(world: Path, out: Path, **values: Any) -> TrainConfig:
    return changed(changed(train_config(world, out), data={"val": str(world / "videos")}), **values)


def validating(trainer: Trainer, scores: list[float], seen: list[dict[str, Tensor]] | None = None) -> Trainer:
    """The trainer with a validation that gives these scores in turn, and notes the prompts that it is shown."""
    left = iter(scores)

    def validate() -> dict[str, float]:
        if seen is not None:
            seen.append({name: value.clone() for name, value in trainer.model.adapter_state().items()})
        score = next(left)
        return {"val/top1": score, "val/top5": 1 - score}

    trainer.validate = validate  # type: ignore[method-assign]
    return trainer


# ------------------------------------------------------------------------------------------------ effect on a step


def assert_step_has(trainer: Trainer, batch: TrainBatch, loss: Tensor) -> None:
    """The trainer's step has this loss, and its gradient."""
    parameters = trainer.model.trainable_parameters()
    expected = torch.autograd.grad(loss, list(parameters.values()))
    assert trainer.train_step(batch)["train/loss"] == pytest.approx(loss.item(), rel=1e-6)
    for (name, parameter), gradient in zip(parameters.items(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-5, atol=1e-9, msg=name)


@pytest.mark.parametrize("micro_batch_size", [0, 2])
def test_label_smoothing_spreads_the_label(world: Path, tmp_path: Path, micro_batch_size: int) -> None:
    config = train_config(world, tmp_path, label_smoothing=0.3, micro_batch_size=micro_batch_size)
    trainer = Trainer(config)
    model, batch = trainer.model.double(), random_batch(5)
    log_probabilities = model(batch.video, model.encode_text(NAMES)).log_softmax(dim=-1)
    targets = 0.7 * F.one_hot(batch.labels, 3) + 0.1
    assert_step_has(trainer, batch, -(targets * log_probabilities).sum(dim=-1).mean())


@pytest.mark.parametrize("micro_batch_size", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_clips_have_mixed_labels(world: Path, tmp_path: Path, kind: str, micro_batch_size: int) -> None:
    """Against blending whole batches by hand, whatever the micro-batches."""
    config = train_config(world, tmp_path, micro_batch_size=micro_batch_size, label_smoothing=0.1)
    trainer = Trainer(changed(config, data={"augment": {kind: 1.0}}))
    model, batch = trainer.model.double(), random_batch(5)
    mix = draw_mix(trainer.config.data.augment, model.image_size, trainer.config.seed, step=0)
    assert mix is not None
    other = [1, 0, 3, 2, 3]
    video = model.backbone.normalize_pixels(batch.video)
    mixed = mix.lam * video + (1 - mix.lam) * video[other]
    if mix.box is not None:
        top, left, bottom, right = mix.box
        mixed = video.clone()
        mixed[..., top:bottom, left:right] = video[other][..., top:bottom, left:right]
    logits = model(mixed, model.encode_text(NAMES))
    own, others = (
        F.cross_entropy(logits, labels, label_smoothing=0.1) for labels in (batch.labels, batch.labels[other])
    )
    assert_step_has(trainer, batch, mix.lam * own + (1 - mix.lam) * others)


def test_gradient_is_clipped_to_limit(world: Path, tmp_path: Path) -> None:
    free, cut = (Trainer(train_config(world, tmp_path / str(limit), max_gradient_norm=limit)) for limit in (0, 0.01))
    norms, gradients = [], []
    for trainer in (free, cut):
        trainer.model.double()
        norms.append(trainer.train_step(random_batch())["train/gradient_norm"])
        parameters = trainer.model.trainable_parameters().values()
        gradients.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]))
    whole, shortened = gradients
    assert norms[0] == norms[1] == pytest.approx(whole.norm().item())
    assert shortened.norm().item() == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(shortened / shortened.norm(), whole / whole.norm())


# ------------------------------------------------------------------------------------------------- effect on a run


def test_ema_is_validated_and_saved(world: Path, tmp_path: Path) -> None:
    seen: list[dict[str, Tensor]] = []
    config = validated(world, tmp_path, optim={"ema_decay": 0.5})
    model = validating(Trainer(config), [0.5], seen).fit()
    state, saved = load_file(tmp_path / "checkpoints" / "step_00000006.safetensors"), prompts_of(tmp_path)
    assert same(saved, seen[0])
    averaged = {name.removeprefix("average."): value for name, value in state.items() if name.startswith("average.")}
    assert averaged.keys() == model.trainable_parameters().keys()
    for name, value in averaged.items():
        assert torch.equal(value, saved[name])
        assert torch.equal(model.adapter_state()[name], saved[name])
    assert any(not torch.equal(state[name], saved[name]) for name in averaged)


@pytest.mark.parametrize("metric", ["val/top1", "val/top5"])
def test_early_stopping_keeps_the_best(world: Path, tmp_path: Path, metric: str) -> None:
    config = validated(world, tmp_path, optim={"steps": 20}, validate_every=1, early_stop_patience=3)
    config = changed(config, keep_checkpoints=1, checkpoint_every=20, early_stop_metric=metric)
    scores = [0.1, 0.5, 0.4, 0.5, 0.3, 0.9]
    seen: list[dict[str, Tensor]] = []
    watched = scores if metric == "val/top1" else [1 - score for score in scores]
    trainer = validating(Trainer(config), watched, seen)
    trainer.fit()
    assert trainer.step == 5
    assert same(prompts_of(tmp_path), seen[1])
    assert not same(prompts_of(tmp_path), seen[4])
    kept = sorted(file.name for file in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step_00000002.safetensors", "step_00000005.safetensors"]
    assert [line["step"] for line in lines_of(tmp_path) if metric in line] == [1, 2, 3, 4, 5]
    # The same command again: nothing is trained or validated, and the same model is left.
    again = validating(Trainer(config), [])
    again.fit()
    assert again.step == 5
    assert same(prompts_of(tmp_path), seen[1])


def test_videos_trained_and_validated_on_are_warned_of(world: Path, tmp_path: Path) -> None:
    """A link in the validation list is the video that it leads to."""
    first, second, third = sorted((world / "videos" / "jump_up").iterdir())[:3]
    (tmp_path / "link.mp4").symlink_to(first)
    train = write_list(tmp_path / "train.csv", [(first, 0), (second, 1)])
    val = write_list(tmp_path / "val.csv", [(tmp_path / "link.mp4", 0), (third, 1)])
    config = changed(train_config(world, tmp_path / "run"), data={"train": train, "classes": "a,b", "val": val})
    warning = Trainer(config).warnings[-1]
    assert warning.startswith(f"1 of the 2 validation videos are trained on too, such as {tmp_path}/link.mp4; ")


def test_validation_split_is_written_to_run_folder(world: Path, tmp_path: Path) -> None:
    trainer = Trainer(changed(train_config(world, tmp_path), data={"val": "0.25"}))
    assert trainer.val_videos is not None
    trainer.fit()
    assert "val/top1" in lines_of(tmp_path)[-1]
    parts = trainer.videos.samples, trainer.val_videos.samples
    for name, samples, per_class in (("train", parts[0], 3), ("val", parts[1], 1)):
        read = read_list(tmp_path / f"{name}_list.csv", class_names=NAMES)
        assert [(each.path, each.labels) for each in read.samples] == [(each.path, each.labels) for each in samples]
        assert read.counts() == [per_class] * 3
    assert {each.path for each in parts[0]}.isdisjoint(each.path for each in parts[1])


def test_drawn_shots_are_written_to_run_folder(world: Path, tmp_path: Path) -> None:
    def drawn(name: str, seed: int = 0, **values: Any) -> list[tuple[str, int]]:
        config = changed(train_config(world, tmp_path / name, batch_size=6), seed=seed, data={"shots": 2, **values})
        (batch,) = Trainer(config).batches(0, 1)
        assert sorted(batch.labels.tolist()) == [0, 0, 1, 1, 2, 2]
        assert set(batch.indices) == set(range(6))
        samples = read_list(tmp_path / name / "train_list.csv", class_names=NAMES).samples
        return [(str(sample.path), sample.label) for sample in samples]

    first = drawn("first")
    assert [label for _, label in first] == [0, 0, 1, 1, 2, 2]
    assert drawn("again") == first
    assert drawn("other", seed=1) != first
    Trainer(train_config(world, tmp_path / "all"))
    assert not (tmp_path / "all" / "train_list.csv").exists()


# ------------------------------------------------------------------------------------------------- exact resumption

RANDAUGMENT = {"randaugment": "rand-m7-n4-mstd0.5-inc1"}
MIXED = {"mixup": 0.8, "cutmix": 1.0}


COMBINED: dict[str, dict[str, Any]] = {
    "all": {
        "optim": {"warmup_steps": 2, "label_smoothing": 0.1, "max_gradient_norm": 0.1, "ema_decay": 0.9},
        "data": {"balance_classes": True, "shots": 3, "augment": {**MIXED, **RANDAUGMENT}},
        "early_stop_patience": 4,
        "validate_every": 2,
    },
    "epochs and micro-batches": {
        "optim": {"steps": 0, "epochs": 2, "micro_batch_size": 3, "decayed": "matrices"},
        "data": {"augment": MIXED},
    },
    "early stopping": {"early_stop_patience": 1, "validate_every": 1},
}
SCORES = {1: 0.1, 2: 0.5, 3: 0.6, 4: 0.7, 5: 0.3, 6: 0.2}


def scored_by_step(trainer: Trainer) -> Trainer:
    """The trainer with a validation whose score depends on the step alone."""
    trainer.validate = lambda: {"val/top1": SCORES.get(trainer.step, 0.1), "val/top5": 1.0}  # type: ignore[method-assign]
    return trainer


def history(out: str) -> list[tuple[float, ...]]:
    """Every figure but speeds, which differ between any two runs."""
    names = ("step", "train/loss", "train/top1", "learning_rate", "train/gradient_norm", "val/top1")
    return [tuple(line.get(name, -1.0) for name in names) for line in lines_of(out)]


@pytest.mark.parametrize(("settings", "last"), [("all", 1), *((name, 3) for name in COMBINED)])
def test_resumed_run_equals_uninterrupted_run_exactly(world: Path, tmp_path: Path, settings: str, last: int) -> None:
    whole, stopped = (validated(world, tmp_path / name, **COMBINED[settings]) for name in ("whole", "stopped"))
    scored_by_step(Trainer(whole)).fit()
    interrupt_at(scored_by_step(Trainer(stopped)), last)
    scored_by_step(Trainer(stopped)).fit()
    assert same(prompts_of(whole.out), prompts_of(stopped.out))
    assert history(whole.out) == history(stopped.out)
    checkpoints = [sorted((Path(config.out) / "checkpoints").iterdir()) for config in (whole, stopped)]
    assert [file.name for file in checkpoints[0]] == [file.name for file in checkpoints[1]]
    for first, second in zip(*checkpoints, strict=True):
        assert same(load_file(first), load_file(second))
