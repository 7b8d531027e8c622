"""The report of a small evaluation: its numbers counted by hand, the page complete and self-contained."""

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
from vitaclip.data import VideoError, VideoPath, VideoSample, read_folder
from vitaclip.evaluate.evaluation import Evaluated
from vitaclip.evaluate.metrics import Scores, summarize
from vitaclip.evaluate.report import EvalSubject, ExplanationSection, PromptKind, write_report
from vitaclip.evaluate.report.html import image_to_data_uri
from vitaclip.evaluate.report.summary import summarize_evaluation

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
def rows(world: Path) -> tuple[VideoSample, ...]:
    return read_folder(world / "videos").samples


def scored(rows: tuple[VideoSample, ...], names: tuple[str, ...] = NAMES) -> Evaluated:
    """Random probabilities; the second video could not be read, and views agree with the whole at last."""
    generator = torch.Generator().manual_seed(3)
    probabilities = torch.rand(len(rows) - 1, len(names), generator=generator).softmax(dim=1)
    kept = torch.tensor([n for n in range(len(rows)) if n != 1])
    labels = torch.tensor([rows[n].label for n in kept.tolist()])
    choices = torch.stack([torch.zeros_like(labels), probabilities.argmax(dim=1)], dim=1)
    scores = Scores(probabilities, labels, kept, {1: "list.csv:2: <b>gone</b>"}, choices)
    return Evaluated(scores, summarize(scores, names))


def report(folder: Path, rows: tuple[VideoSample, ...], names: tuple[str, ...] = NAMES) -> tuple[Page, str]:
    about = {"model": "runs/<one>", "text": "the learned context"}
    file = write_report(
        folder, EvalSubject("tests & trials", about, rows, names, {"list": "12ab"}), scored(rows, names)
    )
    html = file.read_text(encoding="utf-8")
    return Page(html), html


def test_classes_and_pairs_equal_counting_by_hand(rows: tuple[VideoSample, ...]) -> None:
    evaluated = scored(rows)
    summary = summarize_evaluation(evaluated, NAMES)
    chosen = evaluated.scores.probabilities.argmax(dim=1).tolist()
    both = list(zip(evaluated.scores.labels.tolist(), chosen, strict=True))
    for label, each in enumerate(summary.classes):
        assert (each.videos, each.correct) == (sum(t == label for t, _ in both), both.count((label, label)))
        mistaken = {NAMES[c]: both.count((label, c)) for c in range(3) if c != label and (label, c) in both}
        assert dict(each.confused_with) == mistaken
        assert each.false_positives == sum(c == label != t for t, c in both)
    counts = [pair.count for pair in summary.pairs]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == sum(t != c for t, c in both)
    for pair in summary.pairs:
        assert pair.count == both.count((NAMES.index(pair.truth), NAMES.index(pair.predicted)))
        for row in pair.examples:
            assert NAMES[rows[row].label] == pair.truth


def test_page_shows_numbers_and_loads_nothing(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    names = ("</svg><script>run()</script>", "$\\frac{x", *NAMES[2:])
    page, html = report(tmp_path, rows, names)
    result = scored(rows).result
    for fraction in (result.top1, result.mean_class_accuracy):
        assert f"{100 * fraction:.1f} %" in page.text
    for expected in ("tests & trials", "runs/<one>", "of 11 videos are named", "One listed video was skipped", "12ab"):
        assert expected in page.text
    assert "list.csv:2: <b>gone</b>" in page.text
    for name in names:
        assert page.text.count(name) >= 2
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "script")
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
    assert not re.search(r"https?://(?!www.w3.org/)|@import", html)
    frames = [a for tag, a in page.tags if tag == "img" and "frame" in (a.get("alt") or "")]
    examples = sum(len(pair.examples) for pair in summarize_evaluation(scored(rows), NAMES).pairs)
    assert len(frames) == 8 * examples > 0


def test_small_report_leaves_out_what_it_cannot_tell(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    few = report(tmp_path, rows)[0]
    assert "top-5" not in few.text
    assert "calibration" not in few.text.lower()
    names = (*NAMES, "d", "e", "f")
    assert "top-5" in report(tmp_path, rows, names)[0].text
    assert figures(few) == [
        "Accuracy by class",
        "Accuracy by class",
        "Confusion matrix of 3 classes",
        "Top-1 over views",
    ]
    many = tuple(rows[n % len(rows)] for n in range(200))
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([row.label for row in many])
    scores = Scores(torch.rand(200, 3, generator=generator).softmax(dim=1), labels, torch.arange(200))
    file = write_report(tmp_path, EvalSubject("x", {}, many, NAMES, {}), Evaluated(scores, summarize(scores, NAMES)))
    page = Page(file.read_text(encoding="utf-8"))
    assert "calibration error" in page.text


def figures(page: Page) -> list[str]:
    """What each chart is of."""
    charts = [attributes["aria-label"] or "" for tag, attributes in page.tags if tag == "svg"]
    return [re.split(r"[.:] ", label)[0].removesuffix(" of a video") for label in charts]


def section(frames: int, **changes: Any) -> ExplanationSection:
    """Half of every frame's attention goes to patches."""
    made = ExplanationSection(
        overlays=torch.zeros(frames, 3, 16, 16, dtype=torch.uint8),
        frame_numbers=tuple(range(frames)),
        kinds=(
            PromptKind("patches", "#e0762b", (0.5,) * frames),
            PromptKind("local prompts", "#2f9c86", (0.5,) * frames),
        ),
        probability=0.625,
        occluded=tuple(0.125 + n / 100 for n in range(frames)),
        warning="",
        neighbours=(("a near name", 0.875),),
    )
    return replace(made, **changes)


def test_shown_mistakes_are_explained(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    asked: list[tuple[VideoPath, str]] = []

    def explain(path: VideoPath, name: str) -> ExplanationSection:
        asked.append((path, name))
        return section(5)

    evaluated = scored(rows)
    file = write_report(tmp_path, EvalSubject("x", {}, rows, NAMES, {}), evaluated, explain=explain)
    page = Page(file.read_text(encoding="utf-8"))
    examples = [(row, pair.predicted) for pair in summarize_evaluation(evaluated, NAMES).pairs for row in pair.examples]
    assert asked == [(rows[row].path, chosen) for row, chosen in examples]
    drawn = [a for tag, a in page.tags if tag == "img" and (a.get("alt") or "").startswith("attention on frame")]
    assert len(drawn) == 5 * len(examples) > 0
    bars = [a["aria-label"] for _, a in page.tags if a.get("class") == "mass"]
    assert bars == ["patches 50.0\xa0%, local prompts 50.0\xa0%"] * len(drawn)
    for expected in ("12.5 %", "13.5 %", "62.5 %", "a near name 0.88"):
        assert page.text.count(expected) >= len(examples), expected
    assert "an explanation on frames" in page.text
    assert "an explanation on frames" not in report(tmp_path, rows)[0].text


def test_occlusion_warning_is_shown(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    def text(told: ExplanationSection) -> str:
        evaluatee = EvalSubject("x", {}, rows, NAMES, {})
        file = write_report(tmp_path, evaluatee, scored(rows), explain=lambda _path, _name: told)
        return Page(file.read_text(encoding="utf-8")).text

    assert "Mind: frames come twice." in text(section(2, warning="frames come twice"))
    assert "Mind" not in text(section(2))
    one_frame = text(section(1, occluded=()))
    assert "This clip alone" not in one_frame
    assert "a near name" in one_frame


def test_predictions_and_result_hold_every_video(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    report(tmp_path, rows)
    evaluated = scored(rows)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [line["path"] for line in found] == [str(row.path) for row in rows]
    assert found.pop(1)["error"] == "list.csv:2: <b>gone</b>"
    for line, probabilities in zip(found, evaluated.scores.probabilities.tolist(), strict=True):
        ranked = sorted(zip(probabilities, NAMES, strict=True), reverse=True)
        assert [line[f"name{rank}"] for rank in (1, 2, 3)] == [name for _, name in ranked]
        assert float(line["probability1"]) == pytest.approx(ranked[0][0], abs=1e-6)
        assert line["correct"] == str(int(line["name1"] == line["class"]))
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["result"]["top1"] == pytest.approx(sum(line["correct"] == "1" for line in found) / len(found))
    assert result["about"]["model"] == "runs/<one>"


def test_one_video_has_a_report(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    evaluated = scored(rows).scores
    first = {name: getattr(evaluated, name)[:1] for name in ("probabilities", "labels", "indices", "view_choices")}
    scores = replace(evaluated, **first)
    write_report(tmp_path, EvalSubject("x", {}, rows, NAMES, {}), Evaluated(scores, summarize(scores, NAMES)))
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "of 1 video is named correctly, out of 3 candidates" in page.text
    assert "1 of the 3 candidates has videos" in page.text
    assert "Worst classes" not in page.text


def test_the_interval_does_not_claim_certainty(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    evaluated = scored(rows)
    right = torch.eye(len(NAMES))[evaluated.scores.labels]
    scores = replace(evaluated.scores, probabilities=right)
    file = write_report(tmp_path, EvalSubject("x", {}, rows, NAMES, {}), Evaluated(scores, summarize(scores, NAMES)))
    assert "95 % interval: 74.1 % to 100.0 %" in Page(file.read_text(encoding="utf-8")).text  # 11 / (11 + 1.96 ** 2)


def test_result_json_names_the_matrix(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    names = (*NAMES, "of no video")
    settings = {"templates": ["a {}"], "views": {"temporal": 3}, "model": "m", "videos": "list.csv"}
    write_report(tmp_path, EvalSubject("x", {}, rows, names, {}, settings), scored(rows, names))
    result = json.loads((tmp_path / "result.json").read_text())
    assert result | settings == result
    assert result["class_names"] == list(names)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for i, true in enumerate(result["class_names"]):
        for j, chosen in enumerate(result["class_names"]):
            count = sum((line["class"], line["name1"]) == (true, chosen) for line in lines)
            assert result["result"]["confusion"][i][j] == count


def test_images_are_data_uris() -> None:
    assert image_to_data_uri(torch.zeros(3, 8, 8, dtype=torch.uint8)).startswith("data:image/jpeg;base64,")
    with pytest.raises(ValueError, match="is no image"):
        image_to_data_uri(torch.zeros(3, 8, 8))


def test_damaged_video_does_not_lose_the_report(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    evaluated = scored(rows)
    shown = [row for pair in summarize_evaluation(evaluated, NAMES).pairs for row in pair.examples]
    (broken := tmp_path / "broken.mp4").write_bytes(b"no video")
    damaged = tuple(replace(row, path=broken) if n == shown[0] else row for n, row in enumerate(rows))

    def explain(path: VideoPath, _name: str) -> ExplanationSection:
        if path == rows[shown[1]].path:
            raise VideoError("clip.mp4 is <damaged>")
        return section(2)

    page = Page(
        write_report(
            tmp_path / "report", EvalSubject("x", {}, damaged, NAMES, {}), evaluated, explain=explain
        ).read_text(encoding="utf-8")
    )
    assert page.text.count("Some images are missing") == 2
    assert str(broken) in page.text
    assert "clip.mp4 is <damaged>" in page.text
    frames = [a for tag, a in page.tags if tag == "img" and re.search(r"\w+, frame \d", a.get("alt") or "")]
    assert len(frames) == 8 * (len(shown) - 1)
