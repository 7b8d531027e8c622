"""`vitaclip moments`: what it writes, cuts and measures."""

import csv
import json
from pathlib import Path

import pysubs2
import pytest

from small_world import NAMES, Refusal
from video_files import decode_all, write_video
from vitaclip.cli import main


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("film") / "film.mp4", frames=100)


@pytest.fixture
def words(film: Path, model_folder: Path) -> list[str]:
    """Every stretch is some class."""
    command = f"moments {film} --model {model_folder} --lengths_s 0.5 1 2 --threshold 0 --reject false"
    return [*command.split(), "--runtime.precision", "float32"]


def test_segments_are_written_and_cut(words: list[str], film: Path, tmp_path: Path) -> None:
    out, clips = tmp_path / "film.srt", tmp_path / "clips"
    assert main([*words, "--out", str(out), "--clips", str(clips), "--exact", "--report", str(tmp_path / "page")]) == 0
    assert "film.mp4#t=" in (tmp_path / "page" / "index.html").read_text()
    cues = list(pysubs2.load(str(out)))
    files = sorted(clips.iterdir())
    assert len(files) == len(cues) > 0
    assert len(decode_all(files[0])) == pytest.approx(cues[0].duration / 40, abs=1)


def test_each_video_has_a_row_and_is_told_of(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, sizes, out = tmp_path / "broken.mp4", tmp_path / "sizes.ts", tmp_path / "out.csv"
    broken.write_bytes(b"no video")
    parts = [write_video(tmp_path / f"{width}.ts", frames=50, width=width).read_bytes() for width in (64, 32)]
    sizes.write_bytes(b"".join(parts))
    assert main([words[0], str(broken), str(sizes), *words[1:], "--out", str(out)]) == 1
    with out.open(newline="") as opened:
        told = {Path(row["video"]).name: row for row in csv.DictReader(opened)}
    assert "broken.mp4" in told["broken.mp4"]["error"]
    assert "32 x 48 are brought to the first" in told["sizes.ts"]["note"]
    assert told["film.mp4"]["error"] == told["film.mp4"]["note"] == told["sizes.ts"]["error"] == ""
    shown = capsys.readouterr().err
    assert told["broken.mp4"]["error"] in shown
    assert told["sizes.ts"]["note"] in shown


def test_detection_is_measured(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations = [{"label": name, "segment": [0, 4]} for name in NAMES]
    truth = {"database": {"film": {"annotations": annotations}, "other": {"annotations": annotations}}}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    assert main([*words, "--truth", str(tmp_path / "truth.json")]) == 0
    shown = capsys.readouterr().out
    assert "1 of 2 annotated videos" in shown
    assert "mAP@0.95" in shown


def test_queries_are_those_of_the_annotations(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [{"qid": n, "query": query, "vid": "film", "relevant_windows": [[0, 4]]} for n, query in enumerate(NAMES)]
    truth, out = tmp_path / "truth.jsonl", tmp_path / "found.jsonl"
    truth.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main([*words, "--truth", str(truth), "--out", str(out), "--format", "qvhighlights"]) == 0
    assert [json.loads(line)["query"] for line in out.read_text().splitlines()] == list(NAMES)
    assert "R1@0.7" in capsys.readouterr().out


def test_wrong_places_are_refused_before_the_work(words: list[str], tmp_path: Path, refusal: Refusal) -> None:
    assert "name a file that ends in" in refusal(*words, "--out", "film.xml")
    (tmp_path / "Run_test.txt").write_text("other 0 1\n")
    assert "no video (film) is annotated (as are other)" in refusal(*words, "--truth", str(tmp_path))
