"""`vitaclip eval` on two real processes against one: the same result, told and written once; or one message."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import torchrun
from fake_datasets import save_fake_model, write_words_backbone
from small_world import NAMES
from vitaclip.cli import main

PROTOCOL = """\
about: two halves
classes: [jump up, moving left, moving right]
parts: {first: {lists: [first.csv]}, second: {lists: [second.csv]}}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_fake_model(folder / "model", write_words_backbone(folder / "backbone"), 1)
    return folder / "model"


def write_list(file: Path, videos: list[Path]) -> Path:
    with file.open("w", newline="") as text:
        csv.writer(text).writerows((video, video.parent.name.replace("_", " ")) for video in videos)
    return file


@pytest.fixture
def videos(world: Path) -> list[Path]:
    return sorted((world / "videos").rglob("*.mp4"))


def command(model: Path, out: Path, *arguments: str) -> list[str]:
    """Batches of 3: of eleven videos one process takes six and the other five."""
    arguments += ("--model", str(model), "--data.eval_batch_size", "3", "--workers", "0", "--out", str(out))
    return ["eval", *arguments, "--runtime.device", "cpu", "--runtime.precision", "float32"]


def on_one_and_two(model: Path, tmp_path: Path, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """What both write, and what two processes print."""
    assert main(command(model, tmp_path / "1.json", *arguments)) == 0
    ended = torchrun.launch(2, "-m", "vitaclip", *command(model, tmp_path / "2.json", *arguments))
    assert ended.returncode == 0, ended.stderr
    return [json.loads((tmp_path / f"{count}.json").read_text()) for count in (1, 2)], ended.stdout


def test_a_list_is_scored_once_and_told_once(model: Path, videos: list[Path], tmp_path: Path) -> None:
    file = write_list(tmp_path / "val.csv", videos[:11])
    arguments = [str(file), "--classes", ", ".join(NAMES)]
    (one, two), printed = on_one_and_two(model, tmp_path, *arguments)
    assert two == one
    assert printed.count("11 of 11") == 1


def test_a_protocol_is_run_once_and_told_once(model: Path, videos: list[Path], tmp_path: Path) -> None:
    for name, part in (("first", videos[::2]), ("second", videos[1::2])):
        write_list(tmp_path / f"{name}.csv", part)
    (tmp_path / "halves.yaml").write_text(PROTOCOL)
    arguments = ["--protocol", str(tmp_path / "halves.yaml"), "--root", str(tmp_path)]
    (one, two), printed = on_one_and_two(model, tmp_path, *arguments)
    assert two == one
    assert printed.count("halves: two halves") == 1


@pytest.mark.parametrize("arguments", [["absent.csv"], ["--protocol", "ucf101_zeroshot", "--root", "absent"]])
def test_a_mistake_that_both_meet_is_told_once(model: Path, tmp_path: Path, arguments: list[str]) -> None:
    ended = torchrun.launch(2, "-m", "vitaclip", *command(model, tmp_path / "out.json", *arguments))
    assert ended.returncode != 0
    assert ended.stderr.count("vitaclip: error: ") == 1, ended.stderr
    assert not (tmp_path / "out.json").exists()


def test_a_failure_of_one_process_ends_all_with_its_message(model: Path, videos: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "jump_up" / "bad.mp4"
    bad.parent.mkdir()
    bad.write_bytes(videos[0].read_bytes()[:200])
    file = write_list(tmp_path / "val.csv", [*videos[:6], bad])  # in the share of the second process
    arguments = [str(file), "--classes", ", ".join(NAMES), "--data.on_error", "raise"]
    ended = torchrun.launch(2, "-m", "vitaclip", *command(model, tmp_path / "out.json", *arguments))
    assert ended.returncode != 0
    lines = [line for line in ended.stderr.splitlines() if line.startswith("vitaclip: error: ")]
    assert sum("process 1: " in line and "bad.mp4" in line for line in lines) == 1, ended.stderr
    assert all("bad.mp4" in line or "another one went away" in line for line in lines)
    assert not (tmp_path / "out.json").exists()
