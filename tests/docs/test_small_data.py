"""The page on small data: every setting it names exists, and none of the tree that it should name is missing."""

import re
from pathlib import Path
from typing import Any

from vitaclip.config import AugmentConfig, DataConfig, OptimConfig, TrainConfig, to_dict
from vitaclip.recipes import load_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "small_data.md").read_text(encoding="utf-8")


def test_every_setting_named_exists_and_is_off_by_default() -> None:
    named = re.findall(r"^\| `([a-z_.0-9]+)` \|", PAGE.split("## What")[0], re.MULTILINE)
    off = {"decayed": "all", "shots_seed": None, "early_stop_metric": "val/top1"}
    for path in named:
        value: Any = to_dict(TrainConfig())
        for key in path.split("."):
            value = value[key]
        assert value == off.get(path.split(".")[-1], 0), path
    assert len(named) == len(set(named)) == 13


def test_the_command_of_the_page_is_a_config() -> None:
    options = dict(re.findall(r"--([a-z_.]+) (\S+)", PAGE.split("## Few shots")[1]))
    recipe = load_recipe(options.pop("config"))
    assert recipe.data.shots == 16
    fields = {f"data.{name}" for name in to_dict(DataConfig())} | {"out"}
    assert set(options) <= fields
    assert (OptimConfig().average_decay, AugmentConfig().mixup) == (0, 0)
