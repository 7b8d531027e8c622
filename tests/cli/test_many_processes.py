"""`vitaclip eval` on two real processes against one: the same result, told and written once; or one message."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

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


Run = Callable[[list[str]], tuple[int, str, str]]


@pytest.fixture
def on_two(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on two ranks, copies of this process: the worse exit status, and what both print."""

    def run(arguments: list[str]) -> tuple[int, str, str]:
        capfd.readouterr()
        status = max(torchrun.run_on_ranks(lambda: main(arguments)))
        return status, *capfd.readouterr()

    return run


def test_a_list_is_scored_once_and_told_once(
    model: Path, videos: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By the launcher."""
    file = write_list(tmp_path / "val.csv", videos[:11])
    arguments = [str(file), "--classes", ", ".join(NAMES)]
    assert main(command(model, tmp_path / "1.json", *arguments)) == 0
    capfd.readouterr()
    assert torchrun.launch(lambda: main(command(model, tmp_path / "2.json", *arguments))) == 0
    assert json.loads((tmp_path / "2.json").read_text()) == json.loads((tmp_path / "1.json").read_text())
    assert capfd.readouterr().out.count("11 of 11") == 1


def test_a_protocol_is_run_once_and_told_once(model: Path, videos: list[Path], tmp_path: Path, on_two: Run) -> None:
    for name, part in (("first", videos[::2]), ("second", videos[1::2])):
        write_list(tmp_path / f"{name}.csv", part)
    (tmp_path / "halves.yaml").write_text(PROTOCOL)
    arguments = ["--protocol", str(tmp_path / "halves.yaml"), "--root", str(tmp_path)]
    assert main(command(model, tmp_path / "1.json", *arguments)) == 0
    status, printed, errors = on_two(command(model, tmp_path / "2.json", *arguments))
    assert status == 0, errors
    assert json.loads((tmp_path / "2.json").read_text()) == json.loads((tmp_path / "1.json").read_text())
    assert printed.count("halves: two halves") == 1
