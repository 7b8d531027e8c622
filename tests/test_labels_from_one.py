"""Lists whose labels count from 1 are told of wherever they are read."""

from dataclasses import replace
from pathlib import Path

import pytest

from small_world import train_config
from vitaclip.cli import main
from vitaclip.training.trainer import Trainer

CLASSES = "jump up, moving left, moving right"


def test_labels_from_one_are_told_everywhere(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = [(world / "videos" / name / "0.mp4", label) for label, name in ((1, "jump_up"), (2, "moving_left"))]
    (tmp_path / "list.csv").write_text("".join(f"{path},{label}\n" for path, label in videos))
    config = train_config(world, tmp_path / "run")
    config = replace(config, data=replace(config.data, train=str(tmp_path / "list.csv"), classes=CLASSES))
    assert "label 0 never occurs" in [warning.split(":")[0] for warning in Trainer(config).warnings]
    backbone = ["--model", str(world / "backbone"), "--workers", "0"]
    assert main(["eval", str(tmp_path / "list.csv"), "--classes", CLASSES, *backbone]) == 0
    assert "label 0 never occurs: labels count from 0; if these count from 1" in capsys.readouterr().out
