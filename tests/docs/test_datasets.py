"""The page on data sets: its commands are commands, its files are those that are written."""

import re
import shlex
from pathlib import Path

from vitaclip.cli.main import build_parser
from vitaclip.cli.parser import name_recipes
from vitaclip.config import ResizeConfig
from vitaclip.data.prepare import DATASETS

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")


def test_every_command_parses() -> None:
    commands = re.findall(r"^vitaclip (.*)$", PAGE, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        assert build_parser().parse_args(name_recipes(shlex.split(command))).command in ("data", "train")


def test_every_data_set_is_in_the_table() -> None:
    assert set(DATASETS) <= set(re.findall(r"`(\w+)`", PAGE))


def test_the_defaults_it_states() -> None:
    assert f"a key frame every {ResizeConfig().key_frame_interval} frames" in PAGE
