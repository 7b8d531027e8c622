"""A run that was saved before a setting existed goes on if the setting is at its default."""

from pathlib import Path
from typing import Any

import pytest

from small_world import NAMES, train_config
from vitaclip.config import to_dict
from vitaclip.train.comparison import check_same_run


def notes(world: Path, **text: Any) -> dict[str, Any]:
    config = to_dict(train_config(world, world / "out"))
    config["model"]["text"] |= text
    return {"config": config, "class_names": list(NAMES), "videos": "12"}


def test_a_setting_that_is_missing_counts_as_its_default(world: Path) -> None:
    saved = notes(world)
    del saved["config"]["model"]["text"]["linear"]
    del saved["config"]["early_stop_metric"]
    check_same_run(saved, notes(world), "out")
    with pytest.raises(ValueError, match=r"out holds a run with another config: model.text.linear was False, now True"):
        check_same_run(saved, notes(world, linear=True), "out")


def test_a_setting_that_was_there_is_not_taken_for_its_default(world: Path) -> None:
    with pytest.raises(ValueError, match=r"model.text.linear was True, now False"):
        check_same_run(notes(world, linear=True), notes(world), "out")
