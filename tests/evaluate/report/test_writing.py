"""The report of a small evaluation: its figures counted by hand, the page complete and closed in itself."""

import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from small_world import NAMES
from vitaclip.data import VideoError, VideoPath, VideoRow, read_folder
from vitaclip.evaluate.evaluation import Evaluated
from vitaclip.evaluate.metrics import Scores, summarize
from vitaclip.evaluate.report.findings import examine
from vitaclip.evaluate.report.page import frame_to_jpeg_uri, shares_to_png_uri
from vitaclip.evaluate.report.why import Kind, Why
from vitaclip.evaluate.report.writing import LARGEST_TABLE, Evaluatee, write_report

VOID = {"meta", "img", "br", "input"}


class Page(HTMLParser):
    """Checks that tags are balanced; gathers tags and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces).split())


@pytest.fixture
def rows(world: Path) -> tuple[VideoRow, ...]:
    return read_folder(world / "videos").rows


def scored(rows: tuple[VideoRow, ...], names: tuple[str, ...] = NAMES) -> Evaluated:
    """Random probabilities; the second video could not be read, and views agree with the whole at last."""
    generator = torch.Generator().manual_seed(3)
    probabilities = torch.rand(len(rows) - 1, len(names), generator=generator).softmax(dim=1)
    kept = torch.tensor([n for n in range(len(rows)) if n != 1])
    labels = torch.tensor([rows[n].label for n in kept.tolist()])
    choices = torch.stack([torch.zeros_like(labels), probabilities.argmax(dim=1)], dim=1)
    scores = Scores(probabilities, labels, kept, ("list.csv:2: <b>gone</b>",), choices)
    return Evaluated(scores, summarize(scores, names))


def report(folder: Path, rows: tuple[VideoRow, ...], names: tuple[str, ...] = NAMES) -> tuple[Page, str]:
    about = {"model": "runs/<one>", "text": "the learned context"}
    file = write_report(folder, Evaluatee("tests & trials", about, rows, names, {"list": "12ab"}), scored(rows, names))
    html = file.read_text(encoding="utf-8")
    return Page(html), html


def test_classes_and_pairs_equal_counting_by_hand(rows: tuple[VideoRow, ...]) -> None:
    evaluated = scored(rows)
    findings = examine(evaluated, NAMES)
    chosen = evaluated.scores.probabilities.argmax(dim=1).tolist()
    both = list(zip(evaluated.scores.labels.tolist(), chosen, strict=True))
    for label, each in enumerate(findings.classes):
        assert (each.videos, each.right) == (sum(t == label for t, _ in both), both.count((label, label)))
        mistaken = {NAMES[c]: both.count((label, c)) for c in range(3) if c != label and (label, c) in both}
        assert dict(each.mistaken_for) == mistaken
        assert each.also_named == sum(c == label != t for t, c in both)
    counts = [pair.count for pair in findings.pairs]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == sum(t != c for t, c in both)
    for pair in findings.pairs:
        assert pair.count == both.count((NAMES.index(pair.truth), NAMES.index(pair.chosen)))
        for row in pair.examples:
            assert NAMES[rows[row].label] == pair.truth


def test_the_page_shows_the_figures_and_loads_nothing(rows: tuple[VideoRow, ...], tmp_path: Path) -> None:
    page, html = report(tmp_path, rows)
    result = scored(rows).result
    for share in (result.top1, result.top5, result.mean_class_accuracy, *result.view_top1):
        assert f"{100 * share:.1f} %" in page.text
    for expected in (
        "tests & trials",
        "runs/<one>",
        "11 videos are named right",
        "One listed video was left out",
        "12ab",
    ):
        assert expected in page.text
    assert "list.csv:2: <b>gone</b>" in page.text
    for name in NAMES:
        assert name in page.text
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object")
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not re.search(r"https?://|@import|url\(", html)
    frames = [a for tag, a in page.tags if tag == "img" and "frame" in (a.get("alt") or "")]
    examples = sum(len(pair.examples) for pair in examine(scored(rows), NAMES).pairs)
    assert len(frames) == 8 * examples > 0
    assert [a.get("type") for tag, a in page.tags if tag == "input"] == ["search"]


def why(frames: int, **changes: Any) -> Why:
    """Half of every frame's attention goes to patches."""
    told = Why(
        attended=torch.zeros(frames, 3, 16, 16, dtype=torch.uint8),
        frame_numbers=tuple(range(frames)),
        kinds=(Kind("patches", "#e0762b", (0.5,) * frames), Kind("local prompts", "#2f9c86", (0.5,) * frames)),
        whole=0.625,
        hidden=tuple(0.125 + n / 100 for n in range(frames)),
        warning="",
        neighbours=(("a near name", 0.875),),
    )
    return replace(told, **changes)


def test_shown_mistakes_are_explained(rows: tuple[VideoRow, ...], tmp_path: Path) -> None:
    asked: list[tuple[VideoPath, str]] = []

    def explain(path: VideoPath, name: str) -> Why:
        asked.append((path, name))
        return why(5)

    evaluated = scored(rows)
    file = write_report(tmp_path, Evaluatee("x", {}, rows, NAMES, {}), evaluated, explain=explain)
    page = Page(file.read_text(encoding="utf-8"))
    examples = [(row, pair.chosen) for pair in examine(evaluated, NAMES).pairs for row in pair.examples]
    assert asked == [(rows[row].path, chosen) for row, chosen in examples]
    drawn = [a for tag, a in page.tags if tag == "img" and (a.get("alt") or "").startswith("attention on frame")]
    assert len(drawn) == 5 * len(examples) > 0
    bars = [a["aria-label"] for _, a in page.tags if a.get("class") == "parts"]
    assert bars == ["patches 50.0\xa0%, local prompts 50.0\xa0%"] * len(drawn)
    for expected in ("12.5 %", "13.5 %", "62.5 %", "a near name 0.88"):
        assert page.text.count(expected) >= len(examples), expected
    assert "as the model looks at them" in page.text
    assert "as the model looks at them" not in report(tmp_path, rows)[0].text


def test_what_hiding_cannot_tell_is_said(rows: tuple[VideoRow, ...], tmp_path: Path) -> None:
    def text(told: Why) -> str:
        evaluatee = Evaluatee("x", {}, rows, NAMES, {})
        file = write_report(tmp_path, evaluatee, scored(rows), explain=lambda _path, _name: told)
        return Page(file.read_text(encoding="utf-8")).text

    assert "Mind: frames come twice." in text(why(2, warning="frames come twice"))
    assert "Mind" not in text(why(2))
    one_frame = text(why(1, hidden=()))
    assert "This clip by itself" not in one_frame
    assert "a near name" in one_frame


def test_predictions_and_result_hold_every_video(rows: tuple[VideoRow, ...], tmp_path: Path) -> None:
    report(tmp_path, rows)
    evaluated = scored(rows)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [line["path"] for line in found] == [str(row.path) for n, row in enumerate(rows) if n != 1]
    for line, probabilities in zip(found, evaluated.scores.probabilities.tolist(), strict=True):
        ranked = sorted(zip(probabilities, NAMES, strict=True), reverse=True)
        assert [line[f"name{rank}"] for rank in (1, 2, 3)] == [name for _, name in ranked]
        assert float(line["probability1"]) == pytest.approx(ranked[0][0], abs=1e-6)
        assert line["right"] == str(int(line["name1"] == line["class"]))
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["result"]["top1"] == pytest.approx(sum(line["right"] == "1" for line in found) / len(found))
    assert result["about"]["model"] == "runs/<one>"
    assert result["calibration"]["fitted_on"] + result["calibration"]["held_out"] == len(found)


def test_many_candidates_are_a_picture_and_few_a_table(rows: tuple[VideoRow, ...], tmp_path: Path) -> None:
    names = (*NAMES, *(f"class {n}" for n in range(LARGEST_TABLE)))
    page, _ = report(tmp_path / "many", rows, names)
    assert [a["alt"] for tag, a in page.tags if tag == "img" and a.get("id") == "picture"]
    for side in ("over", "beside"):
        assert [a for tag, a in page.tags if tag == "div" and a.get("class") == side], side
    assert [a["title"] for tag, a in page.tags if tag == "span" and "title" in a] == [*names, *names]
    assert not [a for tag, a in page.tags if tag == "table" and "heat" in (a.get("class") or "")]
    page, _ = report(tmp_path / "few", rows)
    assert [a for tag, a in page.tags if tag == "table" and "heat" in (a.get("class") or "")]


def test_one_video_has_a_report_without_calibration(rows: tuple[VideoRow, ...], tmp_path: Path) -> None:
    evaluated = scored(rows)
    scores = replace(
        evaluated.scores,
        probabilities=evaluated.scores.probabilities[:1],
        labels=evaluated.scores.labels[:1],
        rows=evaluated.scores.rows[:1],
        view_choices=evaluated.scores.view_choices[:1],
    )
    write_report(tmp_path, Evaluatee("x", {}, rows, NAMES, {}), Evaluated(scores, summarize(scores, NAMES)))
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "Accuracy against confidence" in page.text
    assert "Calibration" not in page.text
    assert "of 1 video is named right, out of 3 candidates" in page.text
    assert "1 of the 3 candidates has videos" in page.text
    assert "Best" in page.text
    assert "Worst" not in page.text
    assert len([a for tag, a in page.tags if tag == "circle"]) == 1  # one point draws no line


def test_the_interval_does_not_claim_certainty(rows: tuple[VideoRow, ...], tmp_path: Path) -> None:
    evaluated = scored(rows)
    right = torch.eye(len(NAMES))[evaluated.scores.labels]
    scores = replace(evaluated.scores, probabilities=right)
    file = write_report(tmp_path, Evaluatee("x", {}, rows, NAMES, {}), Evaluated(scores, summarize(scores, NAMES)))
    assert "95 % interval: 74.1 % to 100.0 %" in Page(file.read_text(encoding="utf-8")).text  # 11 / (11 + 1.96 ** 2)


def test_the_script_gets_every_cell_of_the_matrix(rows: tuple[VideoRow, ...], tmp_path: Path) -> None:
    names = ("</script><b>jump", *NAMES[1:])
    _, html = report(tmp_path, rows, names)
    (given,) = re.findall(r'<script type="application/json" id="confusions">(.*?)</script>', html)
    given, confusion = json.loads(given), scored(rows, names).result.confusion
    assert given["names"] == list(names)
    found = [[0] * 3 for _ in names]
    for true, chosen, count in given["cells"]:
        found[true][chosen] = count
    assert found == confusion


def test_rows_and_columns_of_the_matrix_can_be_named(rows: tuple[VideoRow, ...], tmp_path: Path) -> None:
    names = (*NAMES, "of no video")
    settings = {"templates": ["a {}"], "views": {"temporal": 3}, "model": "m", "videos": "list.csv"}
    write_report(tmp_path, Evaluatee("x", {}, rows, names, {}, settings), scored(rows, names))
    result = json.loads((tmp_path / "result.json").read_text())
    assert result | settings == result
    assert result["class_names"] == list(names)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for i, true in enumerate(result["class_names"]):
        for j, chosen in enumerate(result["class_names"]):
            count = sum((line["class"], line["name1"]) == (true, chosen) for line in lines)
            assert result["result"]["confusion"][i][j] == count


def test_pictures_are_data_uris() -> None:
    assert frame_to_jpeg_uri(torch.zeros(3, 8, 8, dtype=torch.uint8)).startswith("data:image/jpeg;base64,")
    assert shares_to_png_uri(torch.eye(3, dtype=torch.float64).numpy()).startswith("data:image/png;base64,")
    with pytest.raises(ValueError, match="is no picture"):
        frame_to_jpeg_uri(torch.zeros(3, 8, 8))


def test_a_video_that_cannot_be_shown_does_not_lose_the_report(rows: tuple[VideoRow, ...], tmp_path: Path) -> None:
    evaluated = scored(rows)
    shown = [row for pair in examine(evaluated, NAMES).pairs for row in pair.examples]
    (broken := tmp_path / "broken.mp4").write_bytes(b"no video")
    damaged = tuple(replace(row, path=broken) if n == shown[0] else row for n, row in enumerate(rows))

    def explain(path: VideoPath, _name: str) -> Why:
        if path == rows[shown[1]].path:
            raise VideoError("clip.mp4 is <damaged>")
        return why(2)

    page = Page(
        write_report(tmp_path / "report", Evaluatee("x", {}, damaged, NAMES, {}), evaluated, explain=explain).read_text(
            encoding="utf-8"
        )
    )
    assert page.text.count("Some pictures are missing") == 2
    assert str(broken) in page.text
    assert "clip.mp4 is <damaged>" in page.text
    frames = [a for tag, a in page.tags if tag == "img" and re.search(r"\w+, frame \d", a.get("alt") or "")]
    assert len(frames) == 8 * (len(shown) - 1)
