"""One step against plain backpropagation, and what a run leaves behind."""

import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from small_world import (
    CLIPS_PER_CLASS,
    NAMES,
    changed,
    lines_of,
    random_batch,
    same,
    train_config,
    train_until,
    write_list,
)
from tiny import learned_text
from torchrun import fork, status_of
from vitaclip.model import VideoModel
from vitaclip.training.config import TrainConfig
from vitaclip.training.trainer import Trainer

MODELS: dict[str, dict[str, Any]] = {
    "templates": {"head": "templates"},
    "learned text": {"head": learned_text(3)},
    "fine-tuned": {"train": "both", "context": {}, "head": "templates"},
    "fine-tuned with prompts": {"train": "both"},
}


def with_model(world: Path, out: Path, model: str, **optim: float) -> TrainConfig:
    return changed(train_config(world, out, **optim), model=MODELS[model])


@pytest.mark.parametrize("micro_batch_size", [0, 1, 3])
@pytest.mark.parametrize("model", MODELS)
def test_step_has_the_gradient_of_plain_backpropagation(
    world: Path, tmp_path: Path, micro_batch_size: int, model: str
) -> None:
    trainer = Trainer(with_model(world, tmp_path, model, micro_batch_size=micro_batch_size))
    double, batch = trainer.model.double(), random_batch()
    parameters = double.trainable_parameters()
    loss = F.cross_entropy(double(batch.video, double.encode_text(NAMES)), batch.labels)
    expected = torch.autograd.grad(loss, list(parameters.values()))
    metrics = trainer.train_step(batch)
    for (name, parameter), gradient in zip(parameters.items(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-5, atol=1e-9, msg=name)
    assert metrics["train/loss"] == pytest.approx(loss.item(), rel=1e-6)


@pytest.mark.parametrize(("model", "passes"), [("learned text", 4), ("templates", 1), ("fine-tuned", 4)])
def test_text_tower_runs_once_per_step_or_run(world: Path, tmp_path: Path, model: str, passes: int) -> None:
    """Two steps, each of four micro-batches and followed by a validation."""
    config = with_model(world, tmp_path, model, micro_batch_size=1)
    trainer, seen = Trainer(changed(config, data={"val": config.data.train})), []
    trainer.model.backbone.text.register_forward_hook(lambda *_: seen.append(1))
    for _ in range(2):
        trainer.train_step(random_batch())
        trainer.validate()
    assert len(seen) == passes


def test_run_leaves_a_loadable_model(world: Path, tmp_path: Path) -> None:
    config = changed(train_config(world, tmp_path), data={"val": str(world / "videos")})
    trainer = Trainer(config)
    towers = {name: value.clone() for name, value in trainer.model.backbone.state_dict().items()}
    model = trainer.fit()
    lines = lines_of(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 6]
    assert 0 <= lines[-1]["val/top1"] <= lines[-1]["val/top5"] == 1
    assert same(model.backbone.state_dict(), towers)
    assert VideoModel.from_pretrained(tmp_path / "model").class_names == NAMES
    assert json.loads((tmp_path / "config.json").read_text())["optim"]["steps"] == 6
    assert any((tmp_path / "tensorboard").iterdir())


def test_fine_tuned_model_folder_holds_the_towers(world: Path, tmp_path: Path) -> None:
    config = with_model(world, tmp_path, "fine-tuned")
    trainer = Trainer(config)
    towers = {f"backbone.{name}" for name, _ in trainer.model.backbone.named_parameters() if name != "logit_scale"}
    assert set(trainer.model.trainable_parameters()) == towers | {"head.logit_scale"}
    counts = trainer.model.trained_counts()
    assert counts["backbone"] + counts["logit_scale"] == sum(counts.values())
    start = {name: value.clone() for name, value in trainer.model.backbone.state_dict().items()}
    model = trainer.fit()
    loaded = VideoModel.from_pretrained(tmp_path / "model")
    assert same(model.backbone.state_dict(), loaded.backbone.state_dict())
    for name in ("vision.proj", "text.token_embed.weight"):
        assert not torch.equal(start[name], loaded.backbone.state_dict()[name])
    video = torch.zeros(1, 4, 3, 16, 16, dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode_video(video), model.encode_video(video))
        torch.testing.assert_close(loaded.encode_text(NAMES), model.encode_text(NAMES))


def test_resumed_towers_equal_those_of_an_uninterrupted_run(world: Path, tmp_path: Path) -> None:
    """Prompts alone, and the metrics: `test_small_data.py`."""
    whole, stopped = (with_model(world, tmp_path / name, "fine-tuned with prompts") for name in ("whole", "stopped"))
    Trainer(whole).fit()
    train_until(stopped, step=3)
    # What does not change the result may change on the way.
    Trainer(changed(stopped, data={"eval_batch_size": 3})).fit()
    for file in ("checkpoints/step_00000006", "model/prompts", "model/backbone/model"):
        assert same(*(load_file(Path(run.out) / f"{file}.safetensors") for run in (whole, stopped)))


def test_checkpoints_hold_only_what_trains_and_config(world: Path, tmp_path: Path) -> None:
    Trainer(train_config(world, tmp_path)).fit()
    files = sorted((tmp_path / "checkpoints").iterdir())
    assert [file.name for file in files] == ["step_00000004.safetensors", "step_00000006.safetensors"]
    with safe_open(files[-1], framework="pt") as file:
        names = set(file.keys())
        assert json.loads(file.metadata()["notes"])["config"]["optim"]["steps"] == 6
    assert {name.split(".")[0] for name in names} == {"context", "head", "optimizer"}


def test_second_run_in_same_folder_is_refused(world: Path, tmp_path: Path) -> None:
    """As when the same command is started twice. A run that was killed is none: its lock ends with it."""
    config = train_config(world, tmp_path / "run")
    ready, told = os.pipe()

    def hold() -> None:
        trainer = Trainer(config)
        os.write(told, str(trainer.step).encode())
        signal.pause()

    child = fork(hold)
    assert os.read(ready, 1) == b"0"
    (tmp_path / "run" / ".metrics.jsonl.1.tmp").touch()  # as it may be writing just now
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"run: another run is writing there; let it end, or give this one another"):
        Trainer(config)
    assert sorted(tmp_path.rglob("*")) == before
    os.kill(child, signal.SIGKILL)
    status_of(child)
    Trainer(config).fit()


def test_bad_videos_are_counted_and_listed(world: Path, tmp_path: Path) -> None:
    videos = sorted((world / "videos").rglob("*.mp4"))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(videos[0].read_bytes()[:200])
    train = write_list(tmp_path / "train.csv", [(bad, 0), *((path, i % 3) for i, path in enumerate(videos[:7]))])
    config = changed(train_config(world, tmp_path / "run"), data={"train": train, "classes": ", ".join(NAMES)})
    Trainer(config).fit()
    assert (tmp_path / "run" / "bad_videos.txt").read_text().count("bad.mp4") == 1
    assert lines_of(tmp_path / "run")[-1]["train/bad_videos"] == 1
    with pytest.raises(ValueError, match=r"train.csv:1: .*bad.mp4"):
        Trainer(changed(config, out=str(tmp_path / "other"), data={"on_error": "raise"})).fit()


def test_empty_files_and_links_to_nothing_are_left_out(world: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    shutil.copytree(world / "videos", videos)
    (videos / "jump_up" / "empty.mp4").touch()
    (videos / "moving_left" / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    config = changed(train_config(world, tmp_path / "run", steps=1), data={"train": str(videos), "val": str(videos)})
    trainer = Trainer(config)
    assert trainer.videos.counts() == [CLIPS_PER_CLASS] * 3
    assert any(re.match("2 videos left out, such as .*empty.mp4 is empty", line) for line in trainer.warnings)
    trainer.fit()
    bad = (tmp_path / "run" / "bad_videos.txt").read_text().splitlines()
    assert [Path(line.split()[0]).name for line in bad] == ["empty.mp4", "gone.mp4"]
    with pytest.raises(
        ValueError, match=r"2 problems found(.|\n)*gone.mp4 is a link to .*nothing.mp4, which is not there"
    ):
        Trainer(changed(config, out=str(tmp_path / "other"), data={"on_error": "raise"}))
