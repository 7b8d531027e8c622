"""Settings for small data: what each does to a step, that the run keeps it, and that resuming stays exact."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from small_world import NAMES, interrupt_at, train_config
from tiny import parameter_of
from vitaclip.data import TrainBatch, read_list
from vitaclip.data.config import AugmentConfig
from vitaclip.model import VideoModel
from vitaclip.train.config import TrainConfig
from vitaclip.train.micro_batches import draw_mix
from vitaclip.train.trainer import Trainer


def random_batch(clips: int = 5) -> TrainBatch:
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (clips, 4, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return TrainBatch(0, video, torch.arange(clips) % len(NAMES), tuple(range(clips)), ())


def prompts_of(out: str | Path) -> dict[str, Tensor]:
    return load_file(Path(out) / "model" / "prompts.safetensors")


def lines_of(out: str | Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]


def with_optim(config: TrainConfig, **values: Any) -> TrainConfig:
    return replace(config, optim=replace(config.optim, **values))


def with_data(config: TrainConfig, **values: Any) -> TrainConfig:
    return replace(config, data=replace(config.data, **values))


def with_augment(config: TrainConfig, **values: Any) -> TrainConfig:
    return with_data(config, augment=replace(config.data.augment, **values))


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def validating(trainer: Trainer, scores: list[float], seen: list[dict[str, Tensor]] | None = None) -> Trainer:
    """The trainer with a validation that gives these scores in turn, and notes the prompts that it is shown."""
    left = iter(scores)

    def validate() -> dict[str, float]:
        if seen is not None:
            seen.append({name: value.clone() for name, value in trainer.model.adapter_state().items()})
        score = next(left)
        return {"val/top1": score, "val/top5": score}

    trainer.validate = validate  # type: ignore[method-assign]
    return trainer


# ------------------------------------------------------------------------------------------------ effect on a step


def expected_gradient(model: VideoModel, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.trainable_parameters().values())))


def assert_step_has(trainer: Trainer, batch: TrainBatch, loss: Tensor) -> None:
    """The trainer's step has this loss, and its gradient."""
    expected = expected_gradient(trainer.model, loss)
    metrics = trainer.train_step(batch)
    assert metrics["train/loss"] == pytest.approx(loss.item(), rel=1e-6)
    for (name, parameter), gradient in zip(trainer.model.trainable_parameters().items(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-5, atol=1e-9, msg=name)


@pytest.mark.parametrize("micro_batch_size", [0, 2])
def test_label_smoothing_spreads_the_label(world: Path, tmp_path: Path, micro_batch_size: int) -> None:
    config = train_config(world, tmp_path, label_smoothing=0.3, micro_batch_size=micro_batch_size)
    trainer = Trainer(config)
    model, batch = trainer.model.double(), random_batch()
    log_probabilities = model(batch.video, model.encode_text(NAMES)).log_softmax(dim=-1)
    targets = 0.7 * F.one_hot(batch.labels, 3) + 0.1
    assert_step_has(trainer, batch, -(targets * log_probabilities).sum(dim=-1).mean())


@pytest.mark.parametrize("micro_batch_size", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixed_clips_have_mixed_labels(world: Path, tmp_path: Path, kind: str, micro_batch_size: int) -> None:
    """Against blending whole batches by hand, whatever the micro-batches."""
    config = train_config(world, tmp_path, micro_batch_size=micro_batch_size, label_smoothing=0.1)
    trainer = Trainer(with_augment(config, **{kind: 1.0}))
    model, batch = trainer.model.double(), random_batch()
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
    for trainer in (free, cut):
        trainer.model.double()
    free_metrics, metrics = (trainer.train_step(random_batch()) for trainer in (free, cut))
    whole, shortened = (
        torch.cat([p.grad.flatten() for p in t.model.trainable_parameters().values() if p.grad is not None])
        for t in (free, cut)
    )
    assert free_metrics["train/gradient_norm"] == metrics["train/gradient_norm"] == pytest.approx(whole.norm().item())
    assert shortened.norm().item() == pytest.approx(0.01, rel=1e-3)
    torch.testing.assert_close(shortened / shortened.norm(), whole / whole.norm())


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_infinite_gradient_stops_before_update(world: Path, tmp_path: Path, limit: float) -> None:
    trainer = Trainer(train_config(world, tmp_path, max_gradient_norm=limit))
    parameter_of(trainer.model, "head.logit_scale").register_hook(lambda gradient: gradient * float("inf"))
    before = {name: p.clone() for name, p in trainer.model.trainable_parameters().items()}
    with pytest.raises(
        ValueError, match=r"gradient's length is (inf|nan) at step 0; .*learning_rate.*moving_left/0.mp4"
    ):
        trainer.train_step(random_batch())
    assert all(torch.equal(p, before[name]) for name, p in trainer.model.trainable_parameters().items())


# ------------------------------------------------------------------------------------------------- effect on a run


def test_warm_up_is_what_the_metrics_say(world: Path, tmp_path: Path) -> None:
    Trainer(train_config(world, tmp_path, warmup_steps=3)).fit()
    rates = [line["learning_rate"] for line in lines_of(tmp_path)]
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.0075, 0.0025])


def test_epochs_count_the_videos(world: Path, tmp_path: Path) -> None:
    trainer = Trainer(train_config(world, tmp_path, steps=0, epochs=2, batch_size=5))
    trainer.fit()
    assert trainer.total_steps == trainer.step == 5  # 24 clips in fives
    assert lines_of(tmp_path)[-1]["step"] == 5
    assert (tmp_path / "checkpoints" / "step_00000005.safetensors").exists()


def test_balanced_classes_are_shown_equally_often(world: Path, tmp_path: Path) -> None:
    videos = sorted((world / "videos").rglob("*.mp4"))
    rows = [(path, 0) for path in videos[:9]] + [(videos[9], 1), (videos[10], 2), (videos[11], 2)]
    (tmp_path / "train.csv").write_text("".join(f"{path},{label}\n" for path, label in rows))
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    config = train_config(world, tmp_path / "run", batch_size=12)
    config = with_data(config, train=str(tmp_path / "train.csv"), classes=str(tmp_path / "names.txt"))
    shown = {}
    for balanced in (False, True):
        trainer = Trainer(with_data(config, balance_classes=balanced))
        (batch,) = trainer.batches(0, 1)
        shown[balanced] = torch.bincount(batch.labels).tolist()
    assert shown == {False: [9, 1, 2], True: [4, 4, 4]}


def test_ema_is_validated_and_saved(world: Path, tmp_path: Path) -> None:
    config = with_data(train_config(world, tmp_path, ema_decay=0.5), val=str(world / "videos"))
    seen: list[dict[str, Tensor]] = []
    trainer = validating(Trainer(config), [0.5], seen)
    values = {name: p.detach().clone() for name, p in trainer.model.trainable_parameters().items()}
    step = trainer.train_step

    def averaged(batch: TrainBatch) -> dict[str, float]:
        metrics = step(batch)
        kept = min(0.5, (2 + trainer.step) / (11 + trainer.step))
        for name, p in trainer.model.trainable_parameters().items():
            values[name] = kept * values[name] + (1 - kept) * p.detach()
        return metrics

    trainer.train_step = averaged  # type: ignore[method-assign]
    model = trainer.fit()
    state = load_file(tmp_path / "checkpoints" / "step_00000006.safetensors")
    saved = prompts_of(tmp_path)
    assert same(saved, seen[0])
    for name, value in values.items():
        torch.testing.assert_close(saved[name], value)
        assert torch.equal(state[f"average.{name}"], saved[name])
        assert torch.equal(model.adapter_state()[name], saved[name])
    assert any(not torch.equal(state[name], saved[name]) for name in values)


def test_early_stopping_keeps_the_best(world: Path, tmp_path: Path) -> None:
    config = with_data(train_config(world, tmp_path, steps=20), val=str(world / "videos"))
    config = replace(config, validate_every=1, early_stop_patience=3, keep_checkpoints=1, checkpoint_every=20)
    seen: list[dict[str, Tensor]] = []
    trainer = validating(Trainer(config), [0.1, 0.5, 0.4, 0.5, 0.3, 0.9], seen)
    trainer.fit()
    assert trainer.step == 5
    assert same(prompts_of(tmp_path), seen[1])
    assert not same(prompts_of(tmp_path), seen[4])
    kept = sorted(file.name for file in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step_00000002.safetensors", "step_00000005.safetensors"]
    assert [line["step"] for line in lines_of(tmp_path) if "val/top1" in line] == [1, 2, 3, 4, 5]
    # The same command again: nothing is trained or validated, and the same model is left.
    again = validating(Trainer(config), [])
    again.fit()
    assert again.step == 5
    assert same(prompts_of(tmp_path), seen[1])


def test_early_stopping_loads_best_undamaged_checkpoint(world: Path, tmp_path: Path) -> None:
    config = with_data(train_config(world, tmp_path, steps=20), val=str(world / "videos"))
    config = replace(config, validate_every=1, early_stop_patience=2, keep_checkpoints=9)
    seen: list[dict[str, Tensor]] = []
    trainer = validating(Trainer(config), [0.1, 0.5, 0.3, 0.4], seen)
    trainer.train()
    best = trainer.run_dir.checkpoints.path(2)
    best.write_bytes(best.read_bytes()[:-1])
    trainer.fit()
    assert same(prompts_of(tmp_path), seen[3])
    (warning,) = trainer.warnings
    assert "step_00000002.safetensors: damaged" in warning
    assert warning.endswith("took that of step 4")
    for step in (1, 2, 3, 4):
        trainer.run_dir.checkpoints.path(step).unlink()
    with pytest.raises(ValueError, match=r"step_00000002.safetensors: not there any more; no validated checkpoint"):
        trainer.load_best_checkpoint()


def test_without_early_stopping_the_last_prompts_are_kept(world: Path, tmp_path: Path) -> None:
    config = replace(with_data(train_config(world, tmp_path), val=str(world / "videos")), validate_every=1)
    seen: list[dict[str, Tensor]] = []
    validating(Trainer(config), [0.9, *[0.1] * 5], seen).fit()
    assert same(prompts_of(tmp_path), seen[-1])


def test_validation_lost_by_kill_is_repeated(world: Path, tmp_path: Path) -> None:
    config = replace(with_data(train_config(world, tmp_path), val=str(world / "videos")), validate_every=2)

    def killed() -> dict[str, float]:
        raise KeyboardInterrupt

    trainer = Trainer(config)
    trainer.validate = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.step == 2
    validating(Trainer(config), [0.1, 0.2, 0.3]).fit()
    validated = {line["step"]: line["val/top1"] for line in lines_of(tmp_path) if "val/top1" in line}
    assert validated == {2: 0.1, 4: 0.2, 6: 0.3}


def test_drawn_shots_are_written_to_run_folder(world: Path, tmp_path: Path) -> None:
    def drawn(name: str, **values: Any) -> tuple[list[tuple[str, int]], set[int]]:
        config = with_data(train_config(world, tmp_path / name, batch_size=6), shots=2, **values)
        trainer = Trainer(config if name != "other" else replace(config, seed=1))
        rows = read_list(tmp_path / name / "train_list.csv", class_names=NAMES).samples
        (batch,) = trainer.batches(0, 1)
        assert sorted(batch.labels.tolist()) == [0, 0, 1, 1, 2, 2]
        return [(str(row.path), row.label) for row in rows], set(batch.indices)

    first, numbers = drawn("first")
    assert [label for _, label in first] == [0, 0, 1, 1, 2, 2]
    assert numbers == set(range(6))
    assert drawn("again")[0] == first
    assert drawn("other")[0] != first
    assert drawn("other", shots_seed=0)[0] == first
    Trainer(train_config(world, tmp_path / "all"))
    assert not (tmp_path / "all" / "train_list.csv").exists()


# ------------------------------------------------------------------------------------------------- exact resumption

VARIANTS: dict[str, Callable[[TrainConfig], TrainConfig]] = {
    "warm-up": lambda config: with_optim(config, warmup_steps=4),
    "epochs": lambda config: with_optim(config, steps=0, epochs=3),
    "label smoothing": lambda config: with_optim(config, label_smoothing=0.1),
    "spared decay": lambda config: with_optim(config, decayed="matrices"),
    "gradient limit": lambda config: with_optim(config, max_gradient_norm=0.1),
    "average": lambda config: with_optim(config, ema_decay=0.9),
    "mixup and cutmix": lambda config: with_augment(with_optim(config, micro_batch_size=3), mixup=0.8, cutmix=1.0),
    "balanced": lambda config: with_data(config, balance_classes=True, workers=1),
    "shots": lambda config: with_data(config, shots=2),
    "randaugment": lambda config: with_augment(config, randaugment="rand-m7-n4-mstd0.5-inc1"),
    "early stopping": lambda config: replace(config, early_stop_patience=1, validate_every=1),
    "all": lambda config: replace(
        with_augment(
            with_data(
                with_optim(config, warmup_steps=2, label_smoothing=0.1, max_gradient_norm=0.1, ema_decay=0.9),
                **{"balance_classes": True, "shots": 3},
            ),
            **{"mixup": 0.8, "cutmix": 1.0, "randaugment": "rand-m7-n4-mstd0.5-inc1"},
        ),
        early_stop_patience=4,
        validate_every=2,
    ),
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


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("last", [1, 3])
def test_resumed_run_equals_uninterrupted_run_exactly(world: Path, tmp_path: Path, variant: str, last: int) -> None:
    whole, stopped = (
        VARIANTS[variant](with_data(train_config(world, tmp_path / name), val=str(world / "videos")))
        for name in ("whole", "stopped")
    )
    scored_by_step(Trainer(whole)).fit()

    interrupt_at(scored_by_step(Trainer(stopped)), last)
    scored_by_step(Trainer(stopped)).fit()
    assert same(prompts_of(whole.out), prompts_of(stopped.out))
    assert history(whole.out) == history(stopped.out)
    checkpoints = [sorted((Path(config.out) / "checkpoints").iterdir()) for config in (whole, stopped)]
    assert [file.name for file in checkpoints[0]] == [file.name for file in checkpoints[1]]
    for first, second in zip(*checkpoints, strict=True):
        assert same(load_file(first), load_file(second))


def test_every_variant_changes_what_is_learned(world: Path, tmp_path: Path) -> None:
    """Else the test above would hold for a setting that nothing reads."""
    plain = with_data(train_config(world, tmp_path / "plain"), val=str(world / "videos"))
    results = []
    for name, change in {"plain": lambda config: config, **VARIANTS}.items():
        config = replace(change(plain), out=str(tmp_path / name))
        scored_by_step(Trainer(config)).fit()
        results.append(prompts_of(config.out))
    different = [name for name, result in zip(VARIANTS, results[1:], strict=True) if not same(result, results[0])]
    assert different == list(VARIANTS)


def test_changed_settings_are_refused_on_resume(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path)
    Trainer(config).fit()
    with pytest.raises(ValueError, match=r"data.shots was 0, now 2"):
        Trainer(with_data(config, shots=2))
    assert not (tmp_path / "train_list.csv").exists()
    with pytest.raises(ValueError, match=r"data.augment.mixup was 0.0, now 0.5"):
        Trainer(with_data(config, augment=AugmentConfig(crop_scale=(0.5, 1.0), flip=0.5, mixup=0.5)))
