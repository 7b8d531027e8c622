"""A run that was saved before a setting existed goes on if the setting is at its default."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from small_world import NAMES, train_config
from vitaclip.settings import to_dict
from vitaclip.train.run_fingerprint import check_same_run
from vitaclip.train.trainer import Trainer


def notes(world: Path, **model: Any) -> dict[str, Any]:
    config = to_dict(train_config(world, world / "out"))
    config["model"] |= model
    return {"config": config, "class_names": list(NAMES), "videos": "12"}


def test_missing_setting_counts_as_default(world: Path) -> None:
    saved = notes(world)
    del saved["config"]["model"]["centre"]
    del saved["config"]["early_stop_metric"]
    check_same_run(saved, notes(world), "out")
    with pytest.raises(ValueError, match=r"out holds a run with another config: model.centre was False, now True"):
        check_same_run(saved, notes(world, centre=True), "out")


def test_settings_of_older_runs_are_read(world: Path) -> None:
    saved = notes(world)
    saved["config"]["optim"]["average_decay"] = saved["config"]["optim"].pop("ema_decay") + 0.9
    saved["config"]["data"]["index_cache"] = "folder"  # a setting that is gone
    with pytest.raises(ValueError, match=r"another config: optim.ema_decay was 0.9, now 0.0\. Resume"):
        check_same_run(saved, notes(world), "out")


def test_saved_setting_is_not_taken_for_default(world: Path) -> None:
    with pytest.raises(ValueError, match=r"model.centre was True, now False"):
        check_same_run(notes(world, centre=True), notes(world), "out")


def test_replaced_video_is_warned_of_on_resume(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "videos", tmp_path / "videos")
    config = train_config(world, tmp_path / "run")
    config = replace(config, data=replace(config.data, train=str(tmp_path / "videos")), checkpoint_every=2)
    Trainer(config).fit()
    (tmp_path / "run" / "checkpoints" / "step_00000006.safetensors").unlink(missing_ok=True)
    assert Trainer(config).warnings == []
    video = tmp_path / "videos" / "jump_up" / "1.mp4"
    shutil.copy(tmp_path / "videos" / "moving_left" / "1.mp4", video)
    (warning,) = Trainer(config).warnings
    assert "replaced by another video" in warning
    assert warning in (tmp_path / "run" / "warnings.txt").read_text()
