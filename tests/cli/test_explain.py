"""`vitaclip explain` as a user types it, on real files."""

import json
from pathlib import Path

import pytest
from PIL import Image

from small_world import Refusal
from vitaclip.cli import main

NAMES = "jump up, moving left, moving right"


def arguments(world: Path, out: Path, *videos: Path) -> list[str]:
    model = ["--backbone", str(world / "backbone"), "--classes", NAMES, "--views.frames", "4"]
    return ["explain", *map(str, videos), *model, "--out", str(out)]


def test_prints_tables_and_writes_a_picture_and_figures(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = world / "videos" / "jump_up" / "0.mp4"
    dense = ["--views.sampling", "dense", "--views.stride", "16"]
    assert main([*arguments(world, tmp_path, video), *dense, "--name", "moving right"]) == 0
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "0.json").read_text())
    assert written["name"] == "moving right"
    assert written["clip"]["number"] == 1
    for name in NAMES.split(", "):
        assert name in printed
    for share in (*written["occlusion"]["single"], *written["occlusion"]["curve"]):
        assert f"{share:.1%}" in printed
    assert written["clip"]["frames"] == [0, 11, 11, 11]  # it has 12
    assert "too short for a clip of 4 frames" in printed
    assert Image.open(tmp_path / "0.png").format == "PNG"


def test_one_name_keeps_apart_and_broken_is_named(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    videos = [world / "videos" / name / "0.mp4" for name in ("jump_up", "moving_left")]
    assert main(arguments(world, tmp_path / "out", videos[0], broken, videos[1])) == 1
    assert str(broken) in capsys.readouterr().err
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["0.json", "0.png", "0_2.json", "0_2.png"]
    paths = [json.loads((tmp_path / "out" / file).read_text())["path"] for file in ("0.json", "0_2.json")]
    assert paths == list(map(str, videos))


def test_a_mistake_is_one_line(world: Path, tmp_path: Path, refusal: Refusal) -> None:
    command = arguments(world, tmp_path, world / "videos" / "jump_up" / "0.mp4")
    (tmp_path / "names.txt").write_text("run\n")
    assert "the only candidate is 'run'" in refusal(*command, "--classes", tmp_path / "names.txt")
