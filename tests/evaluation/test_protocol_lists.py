"""One's own protocols on real files: a video in several lists, texts that do not fit, what is said of it all."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from small_world import NAMES, Refusal
from vitaclip.cli import main
from vitaclip.evaluation.protocol import load_protocol
from vitaclip.evaluation.protocol_run import TRAIN_LIST_FILE, read_parts


def write_protocol(folder: Path, lists: dict[str, list[tuple[Path, str]]], parts: str, more: str = "") -> list[str]:
    """A protocol with its lists; returns the command that evaluates it, but for the model."""
    for name, rows in lists.items():
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    (folder / "own.yaml").write_text(f"classes: [{', '.join(NAMES)}]\nparts: {parts}\n{more}")
    options = ["--root", str(folder), "--workers", "0", "--views.temporal", "1", "--runtime.precision", "float32"]
    return ["eval", "--protocol", str(folder / "own.yaml"), *options]


def command_for(
    protocol: bool, folder: Path, lists: dict[str, list[tuple[Path, str]]], parts: str = "{b: {lists: [b.csv]}}"
) -> list[str]:
    """The same of a protocol, or of its list `b.csv` alone."""
    command = write_protocol(folder, lists, parts)
    return command if protocol else ["eval", str(folder / "b.csv"), *command[5:]]


def video(world: Path, name: str, number: int) -> Path:
    return world / "videos" / name.replace(" ", "_") / f"{number}.mp4"


@pytest.fixture(params=["protocol", "list"])
def command(request: pytest.FixtureRequest, world: Path, model_folder: Path, tmp_path: Path) -> list[str]:
    """Tests one video, in a protocol or in a list alone."""
    lists = {"b.csv": [(video(world, "moving left", 0), "moving left")]}
    return [*command_for(request.param == "protocol", tmp_path, lists), "--model", str(model_folder)]


def parts_of(out: Path) -> dict[str, Any]:
    return {part["part"]: part for part in json.loads(out.read_text())["parts"]}


def test_part_has_labels_of_its_own_lists(world: Path, model_folder: Path, tmp_path: Path) -> None:
    """The same two files, under each name in turn: whatever the model says, the shares of the parts add up to 1."""
    videos = [video(world, "moving left", n) for n in (0, 1)]
    lists = {f"{n}.csv": [(path, name) for path in videos] for n, name in enumerate(NAMES)}
    parts = "{a: {lists: [0.csv]}, b: {lists: [1.csv]}, c: {lists: [2.csv]}}"
    out = tmp_path / "out.json"
    assert main([*write_protocol(tmp_path, lists, parts), "--model", str(model_folder), "--out", str(out)]) == 0
    found = parts_of(out)
    assert [list(found[part]["class_accuracy"]) for part in "abc"] == [[name] for name in NAMES]
    assert sum(found[part]["top1"] for part in "abc") == pytest.approx(1)


def test_two_labels_for_one_video_are_refused(
    world: Path, model_folder: Path, tmp_path: Path, refusal: Refusal
) -> None:
    path = video(world, "moving left", 0)
    (tmp_path / "link.mp4").symlink_to(path)
    lists = {"b.csv": [(path, "moving left")], "c.csv": [(tmp_path / "link.mp4", "moving right")]}
    command = [*write_protocol(tmp_path, lists, "{both: {lists: [b.csv, c.csv]}}"), "--model", str(model_folder)]
    message = refusal(*command)
    assert "part both: " in message
    assert "link.mp4 is 'moving left' in b.csv:1 and 'moving right' in c.csv:1; correct one" in message


def test_lists_may_spell_a_path_differently(world: Path, model_folder: Path, tmp_path: Path) -> None:
    path = video(world, "moving left", 0)
    (tmp_path / "link.mp4").symlink_to(path)
    gone = tmp_path / "gone.mp4"
    lists = {
        "b.csv": [(path, "moving left"), (gone, "jump up")],
        "c.csv": [(tmp_path / "link.mp4", "moving left"), (tmp_path / ".." / tmp_path.name / "gone.mp4", "jump up")],
    }
    out = tmp_path / "out.json"
    command = write_protocol(tmp_path, lists, "{b: {lists: [b.csv]}, c: {lists: [c.csv]}}")
    assert main([*command, "--model", str(model_folder), "--out", str(out)]) == 0
    found = parts_of(out)
    assert found["b"]["top1"] == found["c"]["top1"]
    assert [len(found[part]["skipped"]) for part in "bc"] == [1, 1]


def test_texts_are_checked_before_videos_are_opened(
    command: list[str], tmp_path: Path, refusal: Refusal, opened: list[Path]
) -> None:
    assert "shorten" in refusal(*[*command, "--template", "jump " * 90 + "{}"])
    assert opened == []
    assert main(command) == 0
    assert len(opened) == 1


def test_outputs_are_checked_before_videos_are_opened(
    command: list[str], tmp_path: Path, refusal: Refusal, opened: list[Path]
) -> None:
    (tmp_path / "file.json").write_text("kept")
    for option, place, message in (
        ("--out", "/proc/no/out.json", "/proc/no"),
        ("--out", str(tmp_path), "is a folder; name a file"),
        ("--report", str(tmp_path / "file.json"), "file.json: is a file; name a folder"),
        ("--predictions", str(tmp_path / "file.json" / "p.csv"), "file.json: is a file; name a folder"),
    ):
        assert message in refusal(*[*command, option, place])
    assert opened == []
    assert main([*command, "--out", str(tmp_path / "new.json")]) == 0
    assert sorted(tmp_path.glob(".*")) == []


def test_failing_report_keeps_other_outputs(
    world: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ValueError("no page today")

    monkeypatch.setattr("vitaclip.cli.evaluate.write_report", fails)
    lists = {"b.csv": [(video(world, "moving left", 0), "moving left")]}
    command = [*write_protocol(tmp_path, lists, "{b: {lists: [b.csv]}}"), "--model", str(model_folder)]
    command += ["--out", str(tmp_path / "out.json"), "--predictions", str(tmp_path / "p.csv")]
    assert "no page today" in refusal(*[*command, "--report", str(tmp_path / "report")])
    assert parts_of(tmp_path / "out.json")["b"]["videos_scored"] == 1
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("protocol", [True, False])
def test_screen_names_skipped_videos_and_hashes(
    protocol: bool, world: Path, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = [tmp_path / f"broken{n}.mp4" for n in range(12)]
    for path in broken:
        path.write_text("text")
    rows = [(video(world, "moving left", 0), "moving left"), *((path, "jump up") for path in broken)]
    command = command_for(protocol, tmp_path, {"b.csv": rows}, "{b: {lists: [b.csv]}, again: {lists: [b.csv]}}")
    assert main([*command, "--model", str(model_folder), "--template", "a {}"]) == 0
    printed = capsys.readouterr().out
    told = [line for line in printed.splitlines() if line.startswith("skipped: ")]
    assert len(told) == 11  # of the two parts that have it, each once
    assert "b.csv:2" in told[0]
    assert "broken0.mp4" in told[0]
    assert "2 more" in told[-1]
    sums = {
        "b.csv": (tmp_path / "b.csv").read_bytes(),
        "candidates": "".join(f"{name}\n" for name in NAMES).encode(),
        "templates": b"a {}\n",
    }
    (line,) = [line for line in printed.splitlines() if line.startswith("sha256: ")]
    for name, content in sums.items():
        assert f"{name} {hashlib.sha256(content).hexdigest()[:12]}" in line


def test_run_folder_names_its_model(world: Path, model_folder: Path, tmp_path: Path, refusal: Refusal) -> None:
    path = video(world, "moving left", 0)
    run = model_folder.parent
    command = write_protocol(tmp_path, {"b.csv": [(path, "moving left")]}, "{b: {lists: [b.csv]}}")
    found: list[dict[str, Any]] = []
    for given in (["--model", str(model_folder)], ["--model", str(run)], [str(run)]):
        out = tmp_path / f"out{len(found)}.json"
        assert main(["eval", *given, *command[1:], "--out", str(out)]) == 0
        found.append(parts_of(out)["b"])
        assert found[-1]["training"] == "not checked: no training list is there"
    assert found[0]["top1"] == found[1]["top1"] == found[2]["top1"]
    assert "give either videos" in refusal(*["eval", "b.csv", *command[1:], "--model", str(run)])
    (run / TRAIN_LIST_FILE).write_text(f"{path},0\n")
    try:
        for given in (["--model", str(model_folder)], [str(run)]):
            assert "1 of the tested videos are in the training list" in refusal(*["eval", *given, *command[1:]])
    finally:
        (run / TRAIN_LIST_FILE).unlink()


def test_copies_of_training_videos_are_found_by_name(tmp_path: Path) -> None:
    """In data sets of the catalogue, whose file names are distinct; elsewhere `0.mp4` may be anything."""
    for name in (
        "YoYo_g01.avi",
        "Archery_g02.avi",
        "copy/YoYo_g01.mp4",
        "copy/Archery_g01.mp4",
        "copy/Archery_g02.avi",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("video")

    def check(heading: str, train: str, *tested: str) -> str:
        rows = ["YoYo_g01.avi,YoYo", "Archery_g02.avi,Archery", *tested]
        (tmp_path / "test1.csv").write_text("".join(f"{row}\n" for row in rows))
        (tmp_path / "train1.csv").write_text(f"{train}\n")
        (tmp_path / "own.yaml").write_text(f"{heading}\ntrain: [train1.csv]\nparts: {{a: {{lists: [test1.csv]}}}}\n")
        return read_parts(load_protocol(str(tmp_path / "own.yaml")), tmp_path)[0].training

    with pytest.raises(ValueError, match=r"1 of the tested videos are in the training list train1.csv.*copy/YoYo"):
        check("dataset: ucf101", "copy/YoYo_g01.mp4,YoYo")
    by_name = "no tested video is in train1.csv (by path and file name)"
    assert check("dataset: ucf101", "copy/Archery_g01.mp4,Archery") == by_name
    by_path = "no tested video is in train1.csv (by path)"
    assert check("classes: [YoYo, Archery]", "copy/YoYo_g01.mp4,YoYo") == by_path
    # Two tested files share a name, so names tell nothing apart.
    assert check("dataset: ucf101", "copy/YoYo_g01.mp4,YoYo", "copy/Archery_g02.avi,Archery") == by_path
