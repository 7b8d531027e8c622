"""Every format, read back by the reader of the program it is for; where that is too large a package, by its schema."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import opentimelineio
import pysubs2
import pytest
import webvtt

from vitaclip.moments.formats import FORMATS, check_format, write_moments
from vitaclip.moments.table import Moments, Segment
from vitaclip.moments.truth import read_truth

SEGMENTS = (
    Segment(0.5, 10.0, "red heart: grows & <b>shrinks</b> 🎈", 0.91),
    Segment(8.0, 12.04, "=key moving up", 0.95),
    Segment(3599.96, 3723.48, "red heart: grows & <b>shrinks</b> 🎈", 0.5),
)
NAMES = ("red heart: grows & <b>shrinks</b> 🎈", "=key moving up", "nothing of this")


def moments(path: Path = Path("films/v_film.mp4"), error: str = "", fps: float = 25.0) -> Moments:
    segments = () if error else SEGMENTS
    return Moments(path, 4000.0, fps, NAMES, segments, np.zeros(1), np.zeros((1, 3), np.float32), error)


def write(tmp_path: Path, name: str, format: str = "", *several: Moments) -> Path:
    file = tmp_path / name
    write_moments(file, several or [moments()], format)
    return file


def read_json(tmp_path: Path, format: str, *several: Moments) -> Any:
    return json.loads(write(tmp_path, "out.json", format, *several).read_text())


def test_csv_has_a_row_a_segment_and_one_of_a_failure(tmp_path: Path) -> None:
    file = write(tmp_path, "out.csv", "", moments(), moments(Path("b.mp4"), error="b.mp4 is damaged"))
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [float(row["start_s"]) for row in rows[:3]] == [0.5, 8.0, 3599.96]
    assert rows[1] == {
        **{"video": "films/v_film.mp4", "start_s": "8.0", "end_s": "12.04"},
        **{"label": "'=key moving up", "score": "0.95", "error": "", "note": ""},
    }
    assert (rows[3]["video"], rows[3]["label"], rows[3]["error"]) == ("b.mp4", "", "b.mp4 is damaged")


def test_json_lines_are_the_segments(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in write(tmp_path, "out.jsonl").read_text().splitlines()]
    assert [Segment(row["start_s"], row["end_s"], row["label"], row["score"]) for row in rows] == list(SEGMENTS)


def test_activitynet_has_the_fields_its_evaluator_asks_for(tmp_path: Path) -> None:
    content = read_json(tmp_path, "", moments(), moments(Path("b.mp4"), error="damaged"))
    assert {*content} == {"version", "results", "external_data"}
    assert content["results"]["b"] == []
    assert "b.mp4 ends early" in content["external_data"]["details"]
    first = {"label": SEGMENTS[0].label, "score": 0.91, "segment": [0.5, 10.0]}
    assert content["results"]["film"][0] == first


def test_qvhighlights_has_a_line_a_query_surest_first(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in write(tmp_path, "out.jsonl", "qvhighlights").read_text().splitlines()]
    assert [(line["qid"], line["query"], line["vid"]) for line in lines] == [(n, NAMES[n], "v_film") for n in range(3)]
    windows = [line["pred_relevant_windows"] for line in lines]
    assert windows == [[[0.5, 10.0, 0.91], [3599.96, 3723.48, 0.5]], [[8.0, 12.04, 0.95]], []]


@pytest.mark.parametrize("reader", ["webvtt", "pysubs2"])
def test_vtt_captions_are_read_back(tmp_path: Path, reader: str) -> None:
    file = write(tmp_path, "out.vtt")
    cues: list[tuple[float, float, str]]
    if reader == "webvtt":
        cues = [(each.start_in_seconds, each.end_in_seconds, each.raw_text) for each in webvtt.read(str(file)).captions]
    else:
        cues = [(each.start / 1000, each.end / 1000, each.plaintext) for each in pysubs2.load(str(file))]
    assert [int(start) for start, _, _ in cues] == [0, 8, 3599]
    assert [int(end) for _, end, _ in cues] == [10, 12, 3723]
    assert cues[1][2] == "=key moving up (95%)"
    assert "grows &amp; &lt;b&gt;shrinks" in file.read_text()


def test_srt_captions_are_read_back(tmp_path: Path) -> None:
    cues = list(pysubs2.load(str(write(tmp_path, "out.srt"))))
    assert [(cue.start, cue.end) for cue in cues] == [(500, 10_000), (8_000, 12_040), (3_599_960, 3_723_480)]
    assert cues[1].plaintext == "=key moving up (95%)"


@pytest.mark.parametrize("suffix", ["vtt", "srt"])
def test_chapters_do_not_overlap(tmp_path: Path, suffix: str) -> None:
    chapters = list(pysubs2.load(str(write(tmp_path, f"out.{suffix}", f"{suffix}_chapters"))))
    times = [(each.start, each.end) for each in chapters]
    assert times == [(500, 8_000), (8_000, 12_040), (3_599_960, 3_723_480)]  # the surer one has 8 to 10 s
    assert chapters[1].plaintext == "=key moving up"


def test_vtt_notes_that_a_video_ends_early(tmp_path: Path) -> None:
    file = write(tmp_path, "out.vtt", "", moments(error="cut off --> at 3 s"))
    assert "NOTE cut off -> at 3 s" in file.read_text()
    assert len(webvtt.read(str(file))) == 0


@pytest.mark.parametrize("fps", [25.0, 30000 / 1001])
def test_otio_timeline_is_read_back(tmp_path: Path, fps: float) -> None:
    timeline: Any = opentimelineio.adapters.read_from_file(str(write(tmp_path, "out.otio", "", moments(fps=fps))))
    clips = list(timeline.find_clips())
    assert [clip.name for clip in clips] == [each.label for each in SEGMENTS]
    spans = [(clip.source_range.start_time, clip.source_range.end_time_exclusive()) for clip in clips]
    times = [time.to_seconds() for span in spans for time in span]
    assert times == pytest.approx([t for each in SEGMENTS for t in (each.start_s, each.end_s)], abs=0.6 / fps)
    assert clips[0].media_reference.target_url == Path("films/v_film.mp4").absolute().as_uri()
    assert clips[1].metadata["vitaclip"]["score"] == 0.95


def test_edl_is_read_back(tmp_path: Path) -> None:
    timeline: Any = opentimelineio.adapters.read_from_file(str(write(tmp_path, "out.edl")), rate=25)
    clips = list(timeline.find_clips())
    assert [clip.name for clip in clips] == [each.label for each in SEGMENTS]
    starts = [clip.source_range.start_time.to_seconds() for clip in clips]
    lengths = [clip.source_range.duration.to_seconds() for clip in clips]
    assert starts == pytest.approx([0.5, 8.0, 3599.96], abs=0.021)
    assert lengths == pytest.approx([9.5, 4.04, 123.52], abs=0.021)


def test_label_studio_counts_frames_from_one(tmp_path: Path) -> None:
    (task,) = read_json(tmp_path, "label_studio")
    assert task["data"] == {"video": "films/v_film.mp4"}
    (prediction,) = task["predictions"]
    assert {"model_version", "result"} <= {*prediction}
    second = prediction["result"][1]
    assert (second["from_name"], second["to_name"], second["type"]) == ("moments", "video", "timelinelabels")
    assert second["value"] == {"ranges": [{"start": 201, "end": 301}], "timelinelabels": ["=key moving up"]}


def test_fiftyone_has_the_labels_its_importer_reads(tmp_path: Path) -> None:
    content = read_json(tmp_path, "fiftyone")
    assert content["classes"] == list(NAMES)
    second = {"label": "=key moving up", "timestamps": [8.0, 12.04], "confidence": 0.95}
    assert content["labels"]["v_film"][1] == second


@pytest.mark.parametrize(
    ("file", "format", "message"),
    [
        ("out.xml", "", "ends in .csv, .jsonl, .vtt, .srt, .edl, .otio, .json, or say --format"),
        ("out.csv", "cvs", "--format cvs: unknown .did you mean 'csv'"),
    ],
)
def test_unknown_format_is_refused(file: str, format: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_format(file, format)


@pytest.mark.parametrize("format", ["srt", "activitynet"])
def test_videos_that_a_format_cannot_tell_apart_are_refused(tmp_path: Path, format: str) -> None:
    with pytest.raises(ValueError, match=r"write \.csv"):
        write(tmp_path, "out", format, moments(Path("a/film.mp4")), moments(Path("b/film.mp4")))


@pytest.mark.parametrize("format", FORMATS)
def test_video_without_segment_is_written(tmp_path: Path, format: str) -> None:
    assert write(tmp_path, "out", format, moments(error="ends early")).exists()


def write_truth(folder: Path, kind: str) -> Path:
    """The same two segments of a video."""
    if kind == "thumos":
        (folder / "Run_test.txt").write_text("film 1.0 4.5\nfilm 20 30.0\n")
        (folder / "Ambiguous_test.txt").write_text("film 0 9\n")
        return folder
    file = folder / f"truth.{'jsonl' if kind == 'qvhighlights' else 'json'}"
    windows = [[1.0, 4.5], [20, 30]]
    if kind == "qvhighlights":
        line = {"qid": 1, "query": "Run", "vid": "film", "duration": 40, "relevant_windows": windows}
        file.write_text(json.dumps(line) + "\n\n")
    else:
        entry = {"duration": 40, "subset": "validation"}
        database = {"film": entry | {"annotations": [{"label": "Run", "segment": window} for window in windows]}}
        file.write_text(json.dumps({"database": database, "version": "VERSION 1.3", "taxonomy": []}))
    return file


@pytest.mark.parametrize("kind", ["activitynet", "thumos", "qvhighlights"])
def test_annotations_are_read_and_measured(tmp_path: Path, kind: str) -> None:
    truth = read_truth(write_truth(tmp_path, kind))
    expected = (Segment(1.0, 4.5, "Run", 1.0), Segment(20.0, 30.0, "Run", 1.0))
    assert truth.videos == {"film": expected}
    found = Moments(Path("v_film.mp4"), 40, 25, ("Run",), expected, np.zeros(1), np.zeros((1, 1), np.float32))
    result = truth.evaluate([found])
    assert result["mAP"] == 1
    assert ("R1@0.7" in result) == (kind == "qvhighlights")
    assert ("mAP@0.3" in result) == (kind == "thumos")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"database": {}}', "no segment in it"),
        ("a.json", '{"database": {"x": {"annotations": [{"label": "y"}]}}}', "a.json: damaged .KeyError"),
        ("a.jsonl", '{"vid": "x"', "a.jsonl: "),
        ("a.json", "[]", "no JSON object"),
    ],
)
def test_damaged_annotations_are_one_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_truth(tmp_path / name)


def test_video_that_is_not_annotated_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no video .other. is annotated .as are film"):
        read_truth(write_truth(tmp_path, "qvhighlights")).annotated([Path("other.mp4")])
