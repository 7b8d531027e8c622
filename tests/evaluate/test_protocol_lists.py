"""One's own protocols on real files: a video in several lists, texts that do not fit, what is said of it all."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from small_world import NAMES, train_config
from vitaclip.cli import main
from vitaclip.model import VitaCLIP
from vitaclip.weights.backbone import load_backbone


@pytest.fixture(scope="module")
def model(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    config = train_config(world, world / "unused").model
    folder = tmp_path_factory.mktemp("runs") / "model"
    VitaCLIP(load_backbone(config.backbone), config, NAMES).save_pretrained(folder)
    return folder


def write_protocol(folder: Path, lists: dict[str, list[tuple[Path, str]]], parts: str, more: str = "") -> list[str]:
    """A protocol with its lists; returns the command that evaluates it, but for the model."""
    for name, rows in lists.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    (folder / "own.yaml").write_text(f"classes: [{', '.join(NAMES)}]\nparts: {parts}\n{more}")
    options = ["--root", str(folder), "--workers", "0", "--views.temporal", "1", "--runtime.precision", "float32"]
    return ["eval", "--protocol", str(folder / "own.yaml"), *options]


def video(world: Path, name: str, number: int) -> Path:
    return world / "videos" / name.replace(" ", "_") / f"{number}.mp4"


def parts_of(out: Path) -> dict[str, Any]:
    return {part["part"]: part for part in json.loads(out.read_text())["parts"]}


def error_of(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_a_part_has_the_labels_of_its_own_lists(world: Path, model: Path, tmp_path: Path) -> None:
    """The same two files, under each name in turn: whatever the model says, the shares of the parts add up to 1."""
    videos = [video(world, "moving left", n) for n in (0, 1)]
    lists = {f"{n}.csv": [(path, name) for path in videos] for n, name in enumerate(NAMES)}
    parts = "{a: {lists: [0.csv]}, b: {lists: [1.csv]}, c: {lists: [2.csv]}}"
    out = tmp_path / "out.json"
    assert main([*write_protocol(tmp_path, lists, parts), "--model", str(model), "--out", str(out)]) == 0
    found = parts_of(out)
    assert [list(found[part]["class_accuracy"]) for part in "abc"] == [[name] for name in NAMES]
    assert sum(found[part]["top1"] for part in "abc") == pytest.approx(1)


def test_two_labels_for_a_video_of_a_part_are_refused(
    world: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = video(world, "moving left", 0)
    (tmp_path / "link.mp4").symlink_to(path)
    lists = {"b.csv": [(path, "moving left")], "c.csv": [(tmp_path / "link.mp4", "moving right")]}
    command = [*write_protocol(tmp_path, lists, "{both: {lists: [b.csv, c.csv]}}"), "--model", str(model)]
    message = error_of(capsys, command)
    assert "part both: " in message
    assert "link.mp4 is 'moving left' in b.csv:1 and 'moving right' in c.csv:1; correct one" in message


def test_a_file_may_be_spelled_otherwise_in_each_list(world: Path, model: Path, tmp_path: Path) -> None:
    path = video(world, "moving left", 0)
    (tmp_path / "link.mp4").symlink_to(path)
    gone = tmp_path / "gone.mp4"
    lists = {
        "b.csv": [(path, "moving left"), (gone, "jump up")],
        "c.csv": [(tmp_path / "link.mp4", "moving left"), (tmp_path / ".." / tmp_path.name / "gone.mp4", "jump up")],
    }
    out = tmp_path / "out.json"
    command = write_protocol(tmp_path, lists, "{b: {lists: [b.csv]}, c: {lists: [c.csv]}}")
    assert main([*command, "--model", str(model), "--out", str(out)]) == 0
    found = parts_of(out)
    assert found["b"]["top1"] == found["c"]["top1"]
    assert [len(found[part]["left_out"]) for part in "bc"] == [1, 1]


@pytest.mark.parametrize("protocol", [True, False])
def test_texts_are_tried_before_any_video_is_opened(
    protocol: bool,
    world: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    opened: list[Path],
) -> None:
    lists = {"b.csv": [(video(world, "moving left", 0), "moving left")]}
    command = [*write_protocol(tmp_path, lists, "{b: {lists: [b.csv]}}"), "--model", str(model)]
    if not protocol:
        command = ["eval", str(tmp_path / "b.csv"), *command[5:]]
    (tmp_path / "few.json").write_text(json.dumps({"jump up": "A jump."}))
    message = error_of(capsys, [*command, "--descriptions", str(tmp_path / "few.json")])
    assert "the descriptions do not say anything of class 'moving left'" in message
    (tmp_path / "long.json").write_text(json.dumps(dict.fromkeys(NAMES, "jump " * 90)))
    error_of(capsys, [*command, "--descriptions", str(tmp_path / "long.json")])
    assert opened == []
    assert main(command) == 0
    assert len(opened) == 1
