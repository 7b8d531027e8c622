"""The page on reading video: its table is that of the kinds that are tested, its settings and commands exist."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from video_files import write_video
from video_kinds import KINDS
from vitaclip.config import TrainConfig, to_dict
from vitaclip.data.reading.span_decoder import _CAN_SKIP

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reading_video.md").read_text(encoding="utf-8")


def test_the_table_lists_every_kind_as_it_is_tested() -> None:
    rows = [
        tuple(cell.strip() for cell in row.split("|")[1:-1]) for row in re.findall(r"^\| \w+\.\w+ \|.*$", PAGE, re.M)
    ]
    listed = {name: (what, decoded_from) for name, what, _, decoded_from, equal in rows if equal == "yes"}
    assert listed == {name: (kind.what, kind.decoded_from) for name, kind in KINDS.items()}
    assert len(rows) == len(KINDS)


def test_the_settings_it_names_exist() -> None:
    settings = to_dict(TrainConfig())
    named = re.findall(r"`(?:--)?((?:data|model|views)\.[a-z_.]+)", PAGE)
    assert len(set(named)) >= 7
    for name in named:
        value = settings["model"] if name.startswith("model.") else settings
        for key in name.removeprefix("model.").split("."):
            assert key in value, name
            value = value[key]


def test_the_codecs_whose_frames_are_skipped() -> None:
    assert {"h264", "mpeg4", "mpeg1video", "mpeg2video"} == _CAN_SKIP


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    write_video(tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    assert capsys.readouterr().out == "40 25.0 64 48\n"
    assert names["frames"].shape == (8, 3, 48, 64)


@pytest.mark.parametrize("script", ["decoding", "loader"])
def test_the_commands_have_the_options_it_names(script: str) -> None:
    help_text = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / f"{script}.py", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = re.findall(rf"benchmarks/{script}\.py ([^`]*)`", PAGE)
    assert len(commands) >= 2
    for option in re.findall(r"--\w+", " ".join(commands)):
        assert option in help_text
