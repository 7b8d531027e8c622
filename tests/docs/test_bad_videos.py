"""The page on bad files: its settings and their defaults are those of the code."""

import re
from pathlib import Path

from vitaclip.config import DataConfig, VideoLimits

PAGE = (Path(__file__).parents[2] / "docs" / "bad_videos.md").read_text(encoding="utf-8")


def test_limits_and_defaults() -> None:
    stated = re.findall(r"^\| `data\.limits\.([a-z]+)` \| ([0-9]+) \|", PAGE, re.MULTILINE)
    assert {name: float(value) for name, value in stated} == vars(VideoLimits())
    assert f"`data.time_limit_seconds` ({DataConfig().time_limit_seconds:g}; 0 for none)" in PAGE
    assert f"| `{DataConfig().on_error}` (default) |" in PAGE
