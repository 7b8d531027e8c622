"""A dry run: the figures of the run that it stands for, the faults of its data, and nothing left behind."""

import tempfile
from pathlib import Path

import pytest

from small_world import NAMES, changed, train_config, write_list
from vitaclip.train.config import TrainConfig
from vitaclip.train.dry_run import dry_run
from vitaclip.train.trainer import Trainer


def test_dry_run_figures_equal_those_of_run(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert dry_run(train_config(world, tmp_path, steps=1)).clips == 4
    config = train_config(world, tmp_path / "run", ema_decay=0.9)
    rehearsal = dry_run(config)
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob("tmp*"))
    Trainer(config).fit()
    checkpoint = tmp_path / "run" / "checkpoints" / "step_00000004.safetensors"
    assert abs(rehearsal.checkpoint_bytes - checkpoint.stat().st_size) < 200  # names of folders differ
    trainer = Trainer(config)
    assert rehearsal.trainer.model.trained_counts() == trainer.model.trained_counts()
    assert (rehearsal.trainer.total_steps, rehearsal.clips) == (6, 24)
    assert rehearsal.step_seconds > 0
    assert rehearsal.memory_bytes > rehearsal.checkpoint_bytes
    assert rehearsal.problems == ()


def listed(world: Path, tmp_path: Path, rows: list[tuple[object, int]]) -> TrainConfig:
    data = {"train": write_list(tmp_path / "train.csv", rows), "classes": ", ".join(NAMES)}
    return changed(train_config(world, tmp_path / "run"), data=data)


def test_dry_run_names_problems_of_data(world: Path, tmp_path: Path) -> None:
    videos = sorted((world / "videos").rglob("*.mp4"))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(videos[0].read_bytes()[:200])
    config = listed(world, tmp_path, [(bad, 0), *((path, i % 2) for i, path in enumerate(videos[:7]))])
    val = write_list(tmp_path / "val.csv", [(path, 0) for path in videos[6:9]])
    config = changed(config, data={"val": val}, model={"sampling": {"stride": 4}})  # 13 frames of 12
    unreadable, missing, short, shared, short_of_validation = dry_run(config).problems
    assert missing == "1 of 3 classes have no training video: moving right"
    assert "bad.mp4" in unreadable
    assert short.startswith("7 of 8 training videos looked at are shorter than a clip of 13 frames, which repeats")
    assert shared == f"1 of 3 validation videos are trained on: {videos[6]}"
    assert short_of_validation.startswith("3 of 3 validation videos looked at")


def test_dry_run_refuses_invalid_list(world: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train.csv: 2 problems found"):
        dry_run(listed(world, tmp_path, [("missing.mp4", 0), ("missing.mp4", 7)]))
