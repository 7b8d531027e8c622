"""One step against plain backpropagation, and what a run leaves behind."""

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from small_world import NAMES, train_config, train_until
from tiny import learned_text, parameter_of
from vitaclip.data import TrainBatch
from vitaclip.data.config import AugmentConfig, DataConfig
from vitaclip.model import VideoModel
from vitaclip.train.config import TrainConfig
from vitaclip.train.trainer import Trainer


def random_batch(clips: int = 4) -> TrainBatch:
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (clips, 4, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return TrainBatch(0, video, torch.arange(clips) % len(NAMES), tuple(range(clips)), ())


def prompts_of(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "model" / "prompts.safetensors")


def lines_of(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("micro_batch_size", [0, 1, 3])
@pytest.mark.parametrize("head", ["templates", learned_text(3)], ids=["templates", "learned"])
def test_step_has_the_gradient_of_plain_backpropagation(
    world: Path, tmp_path: Path, micro_batch_size: int, head: str | dict[str, Any]
) -> None:
    config = train_config(world, tmp_path / "run", micro_batch_size=micro_batch_size)
    config = replace(config, model=replace(config.model, head=head))
    trainer = Trainer(config)
    model = trainer.model.double()
    batch = random_batch()

    logits = model(batch.video, model.encode_text(NAMES))
    loss = F.cross_entropy(logits, batch.labels)
    expected = torch.autograd.grad(loss, list(model.trainable_parameters().values()))

    metrics = trainer.train_step(batch)
    for (name, parameter), gradient in zip(model.trainable_parameters().items(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-5, atol=1e-9, msg=name)
    assert metrics["train/loss"] == pytest.approx(loss.item(), rel=1e-6)


@pytest.mark.parametrize(("head", "calls_in_two_steps"), [(learned_text(3), 2), ("templates", 1)])
def test_text_tower_runs_once_per_step_or_run(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str | dict[str, Any], calls_in_two_steps: int
) -> None:
    config = train_config(world, tmp_path / "run", micro_batch_size=1)
    config = replace(config, model=replace(config.model, head=head))
    trainer = Trainer(config)
    calls: list[Sequence[str]] = []
    encode_text = VideoModel.encode_text

    def counted(self: VideoModel, names: Sequence[str], templates: Sequence[str] | None = None) -> torch.Tensor:
        calls.append(names)
        return encode_text(self, names, templates)

    monkeypatch.setattr(VideoModel, "encode_text", counted)
    trainer.train_step(random_batch())
    trainer.train_step(random_batch())
    assert len(calls) == calls_in_two_steps


def test_training_learns_and_saves_loadable_model(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    config = train_config(world, out, steps=100, batch_size=12, learning_rate=3e-2)
    whole_frames = AugmentConfig(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))
    config = replace(config, data=replace(config.data, val=config.data.train, augment=whole_frames))
    towers = Trainer(config).model.backbone.state_dict()
    model = Trainer(config).fit()
    lines = lines_of(out)
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    assert len(losses) == 100
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert lines[-1]["val/top1"] > 1.2 / len(NAMES)
    assert all(torch.equal(value, towers[name]) for name, value in model.backbone.state_dict().items())
    loaded = VideoModel.from_pretrained(out / "model")
    assert loaded.class_names == NAMES
    assert json.loads((out / "config.json").read_text())["optim"]["steps"] == 100
    assert any((out / "tensorboard").iterdir())


def test_resumed_run_equals_uninterrupted_run_exactly(world: Path, tmp_path: Path) -> None:
    whole, stopped = (train_config(world, tmp_path / name) for name in ("whole", "stopped"))
    Trainer(whole).fit()

    train_until(stopped, step=3)
    assert len(lines_of(Path(stopped.out))) == 3

    # What does not change the result may change on the way.
    Trainer(replace(stopped, data=replace(stopped.data, eval_batch_size=3))).fit()
    expected, resumed = prompts_of(Path(whole.out)), prompts_of(Path(stopped.out))
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    # Speeds differ between any two runs; all else is repeated exactly, each step once.
    kept = [
        [(line["step"], line["train/loss"], line["learning_rate"]) for line in lines_of(Path(run.out))]
        for run in (whole, stopped)
    ]
    assert kept[0] == kept[1]


def test_checkpoints_hold_only_what_trains_and_config(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path / "run")
    Trainer(config).fit()
    files = sorted((tmp_path / "run" / "checkpoints").iterdir())
    assert [file.name for file in files] == ["step_00000004.safetensors", "step_00000006.safetensors"]
    with safe_open(files[-1], framework="pt") as file:
        names = set(file.keys())
        assert json.loads(file.metadata()["notes"])["config"]["optim"]["steps"] == 6
    assert {name.split(".")[0] for name in names} == {"context", "head", "optimizer"}


def test_resume_with_other_config_shows_both_values(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path / "run")
    Trainer(config).fit()
    with pytest.raises(ValueError, match=r"optim.learning_rate was 0.01, now 0.5"):
        Trainer(replace(config, optim=replace(config.optim, learning_rate=0.5))).fit()
    Trainer(replace(config, log_every=5, data=replace(config.data, workers=1))).fit()


def test_second_run_in_same_folder_is_refused(world: Path, tmp_path: Path) -> None:
    """As when the same command is started twice. A run that was killed is none: its lock ends with it."""
    config = train_config(world, tmp_path / "run")
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            trainer = Trainer(config)
            os.write(told, str(trainer.step).encode())
            signal.pause()
        finally:
            os._exit(1)
    assert os.read(ready, 1) == b"0"
    (tmp_path / "run" / ".metrics.jsonl.1.tmp").touch()  # as it may be writing just now
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"run: another run is writing there; let it end, or give this one another"):
        Trainer(config)
    assert sorted(tmp_path.rglob("*")) == before
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    Trainer(config).fit()


def test_resuming_with_other_shapes_shows_both_values(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path / "run")
    Trainer(config).fit()
    with pytest.raises(ValueError, match=r"model.head.num_context was 3, now 5"):
        Trainer(replace(config, model=replace(config.model, head=learned_text(5)))).fit()


def test_bad_videos_are_counted_and_listed(world: Path, tmp_path: Path) -> None:
    videos = sorted((world / "videos").rglob("*.mp4"))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(videos[0].read_bytes()[:200])
    rows = [f"{bad},0", *(f"{path},{i % 3}" for i, path in enumerate(videos[:7]))]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    config = train_config(world, tmp_path / "run")
    data = DataConfig(train=str(tmp_path / "train.csv"), classes=str(tmp_path / "names.txt"), workers=0)
    Trainer(replace(config, data=data)).fit()
    listed = (tmp_path / "run" / "bad_videos.txt").read_text()
    assert listed.count("bad.mp4") == 1
    assert lines_of(tmp_path / "run")[-1]["train/bad_videos"] == 1
    with pytest.raises(ValueError, match=r"train.csv:1: .*bad.mp4"):
        Trainer(replace(config, out=str(tmp_path / "other"), data=replace(data, on_error="raise"))).fit()


def test_non_finite_loss_stops_before_update(world: Path, tmp_path: Path) -> None:
    trainer = Trainer(train_config(world, tmp_path / "run"))
    with torch.no_grad():
        parameter_of(trainer.model, "head.logit_scale").fill_(float("inf"))
    before = {name: p.clone() for name, p in trainer.model.trainable_parameters().items()}
    with pytest.raises(ValueError, match=r"loss is nan at step 0; .*learning_rate.*jump_up/0.mp4"):
        trainer.train_step(random_batch())
    assert all(torch.equal(p, before[name]) for name, p in trainer.model.trainable_parameters().items())


def test_training_needs_videos(tmp_path: Path, world: Path) -> None:
    config: TrainConfig = train_config(world, tmp_path)
    with pytest.raises(ValueError, match=r"data.train is not set"):
        Trainer(replace(config, data=replace(config.data, train="")))


def test_each_validation_encodes_the_class_texts_anew(world: Path, tmp_path: Path) -> None:
    """What the texts learn between two validations counts in the second."""
    config = train_config(world, tmp_path / "run")
    trainer = Trainer(replace(config, data=replace(config.data, val=config.data.train), validate_every=6))
    encoded: list[object] = []
    trainer.model.backbone.text.register_forward_hook(lambda _module, _inputs, output: encoded.append(output))
    trainer.validate()
    trainer.validate()
    assert len(encoded) == 2
