"""The report of a small evaluation: its numbers counted by hand, the page complete and self-contained."""

import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch

from misbehaving import open_or_misbehave
from small_world import NAMES
from vitaclip.catalog import ClassList
from vitaclip.data.config import DataConfig
from vitaclip.data.lists.sources import read_folder
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.evaluation.class_texts import ClassTexts
from vitaclip.evaluation.decision import DecisionResult
from vitaclip.evaluation.evaluation import Evaluated
from vitaclip.evaluation.metrics import Scores, summarize
from vitaclip.evaluation.protocol_run import EvalPart, PartResult
from vitaclip.report.html import (
    MAX_CLIPS,
    MAX_NAMED_CLASSES,
    confusion_chart,
    misnamed_clips,
    summarize_classes,
    write_report,
)


class Page(HTMLParser):
    """Checks that tags are balanced; gathers tags and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        assert self.open == []
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data * (self.open[-1:] != ["style"])


@pytest.fixture
def rows(world: Path) -> tuple[VideoSample, ...]:
    return read_folder(world / "videos").samples


def scored(rows: tuple[VideoSample, ...], names: tuple[str, ...] = NAMES) -> Evaluated:
    """Random probabilities; the second video could not be read."""
    generator = torch.Generator().manual_seed(3)
    probabilities = torch.rand(len(rows) - 1, len(names), generator=generator).softmax(dim=1)
    kept = torch.tensor([n for n in range(len(rows)) if n != 1])
    labels = torch.tensor([rows[n].label for n in kept.tolist()])
    scores = Scores(probabilities, labels, kept, {1: "list.csv:2: <b>gone</b>"})
    return Evaluated(scores, summarize(scores, names))


def part_of(rows: Sequence[VideoSample], evaluated: Evaluated, names: tuple[str, ...] = NAMES) -> PartResult:
    samples = {str(n): row for n, row in enumerate(rows)}
    part = EvalPart("list", samples, ClassList("", "", names, names), {"list": "12ab"})
    texts = ClassTexts(names, names, torch.empty(0), ("a {}",), "")
    return PartResult(part, "runs/one", texts, "", evaluated)


def report(
    folder: Path,
    rows: Sequence[VideoSample],
    names: tuple[str, ...] = NAMES,
    evaluated: Evaluated | None = None,
    data: DataConfig | None = None,
) -> Page:
    about = {"model": "runs/<one>", "text": "the learned context"}
    part, data = part_of(rows, evaluated or scored(tuple(rows), names), names), data or DataConfig(workers=0)
    return Page(write_report(folder, "tests & trials", about, part, data).read_text())


def test_classes_and_clips_equal_counting_by_hand(rows: tuple[VideoSample, ...]) -> None:
    part = part_of(rows, evaluated := scored(rows))
    chosen = evaluated.scores.probabilities.argmax(dim=1).tolist()
    both = list(zip(evaluated.scores.labels.tolist(), chosen, strict=True))
    for label, each in enumerate(summarize_classes(part)):
        assert (each.videos, each.correct) == (sum(t == label for t, _ in both), both.count((label, label)))
        mistaken = {NAMES[c]: both.count((label, c)) for c in range(3) if c != label and (label, c) in both}
        assert dict(each.confused_with) == mistaken
    wrong = [n for n, (true, predicted) in enumerate(both) if true != predicted]
    wrong.sort(key=lambda n: -evaluated.scores.probabilities[n].max())
    clips = misnamed_clips(part, DataConfig(workers=0))
    assert [(clip.path, clip.truth, clip.predicted) for clip in clips] == [
        (rows[int(evaluated.scores.indices[n])].path, *(NAMES[each] for each in both[n])) for n in wrong
    ]
    assert [clip.probability for clip in clips] == [float(evaluated.scores.probabilities[n].max()) for n in wrong]


def test_only_the_surest_mistakes_are_shown(rows: tuple[VideoSample, ...]) -> None:
    shown = misnamed_clips(part_of(rows * 10, many_scored(120)), DataConfig(workers=0))
    assert len(shown) == MAX_CLIPS
    assert all(len(clip.frames) == 8 for clip in shown)


def test_page_shows_numbers_and_loads_nothing(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    names = ("</svg><script>run()</script>", "$\\frac{x", *NAMES[2:])
    page = report(tmp_path, rows, names)
    result = scored(rows).result
    assert page.text.count(f"{100 * result.top1:.1f} %") == 1
    for expected in ("tests & trials", "runs/<one>", "of 11 videos are named", "1 video skipped", "12ab"):
        assert expected in page.text
    assert "list.csv:2: <b>gone</b>" in page.text
    for name in names:
        assert page.text.count(name) >= 2
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "script")
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
    assert not re.search(r"https?://(?!www.w3.org/)|@import", (tmp_path / "index.html").read_text())
    frames = [a for tag, a in page.tags if tag == "img" and "frame" in (a.get("alt") or "")]
    assert len(frames) == 8 * sum(tag == "article" for tag, _ in page.tags) > 0


def test_small_report_leaves_out_what_it_cannot_tell(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    few = report(tmp_path, rows)
    assert "top-5" not in few.text
    assert "calibration" not in few.text.lower()
    assert "top-5" in report(tmp_path, rows, (*NAMES, "d", "e", "f")).text
    for count, there in ((99, False), (100, True)):
        assert ("calibration error" in report(tmp_path, rows * 9, evaluated=many_scored(count)).text) == there


def test_page_shows_how_good_decisions_were(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    decision = DecisionResult("3 texts", kept=0.91, rejected=0.82, auroc=0.73, fpr=0.55, coverage=0.64, mean_size=1.25)
    page = report(tmp_path, rows, evaluated=replace(scored(rows), decision=decision))
    for said in ("91.0 %", "with 3 texts", "82.0 %", "AUROC", "73.0 %", "55.0 %", "64.0 %", "1.25 classes"):
        assert said in page.text
    assert "F1" not in page.text


def test_page_of_several_labels_shows_average_precision(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    scores = scored(rows).scores
    scores = replace(scores, labels=torch.stack([scores.labels, (scores.labels + 1) % 3], dim=1))
    page = report(tmp_path, rows, evaluated=(evaluated := Evaluated(scores, summarize(scores, NAMES))))
    for fraction in (*evaluated.result.class_accuracy.values(), evaluated.result.mean_class_accuracy):
        assert f"{100 * fraction:.1f} %" in page.text
    assert not any(tag in ("svg", "article") for tag, _ in page.tags)


def test_predictions_and_result_hold_every_video(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    names = (*NAMES, "of no video")
    report(tmp_path, rows, names)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["path"] for line in lines] == [str(row.path) for row in rows]
    assert lines.pop(1)["error"] == "list.csv:2: <b>gone</b>"
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["top1"] == pytest.approx(sum(line["correct"] == "1" for line in lines) / len(lines))
    assert (result["about"]["model"], result["templates"]) == ("runs/<one>", ["a {}"])
    assert result["class_names"] == list(names)
    counts = Counter((line["class"], line["name1"]) for line in lines)
    assert result["confusion"] == [[counts[true, chosen] for chosen in names] for true in names]


def test_one_video_has_a_report(rows: tuple[VideoSample, ...], tmp_path: Path) -> None:
    scores = scored(rows).scores
    first = {name: getattr(scores, name)[:1] for name in ("probabilities", "labels", "indices")}
    scores = replace(scores, **first)
    page = report(tmp_path, rows, evaluated=Evaluated(scores, summarize(scores, NAMES)))
    assert "of 1 video is named correctly, out of 3 candidates" in page.text
    assert "1 of the 3 candidates has videos" in page.text


@pytest.mark.parametrize(("name", "workers"), [("broken<b>.mp4", 0), ("hang.mp4", 1)])
def test_damaged_or_endless_video_loses_no_report(
    name: str,
    workers: int,
    rows: tuple[VideoSample, ...],
    tmp_path: Path,
    forked_workers: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vitaclip.data.loading.clips.open_video", open_or_misbehave)
    (broken := tmp_path / name).write_bytes(b"no video")
    shown = misnamed_clips(part_of(rows, scored(rows)), DataConfig(workers=0))
    damaged = tuple(replace(row, path=broken) if row.path == shown[0].path else row for row in rows)
    data = DataConfig(workers=workers, time_limit_seconds=1)
    page = report(tmp_path / "report", damaged, evaluated=scored(rows), data=data)
    assert page.text.count("No images: ") == 1
    assert name in page.text
    frames = [a for tag, a in page.tags if tag == "img" and re.search(r"\w+, frame \d", a.get("alt") or "")]
    assert len(frames) == 8 * (len(shown) - 1)


def many_scored(count: int) -> Evaluated:
    labels, generator = torch.arange(count) % 3, torch.Generator().manual_seed(0)
    scores = Scores(torch.rand(count, 3, generator=generator).softmax(dim=1), labels, torch.arange(count))
    return Evaluated(scores, summarize(scores, NAMES))


def test_confusion_chart_names_few_classes_alone() -> None:
    result = many_scored(120).result
    assert texts(confusion_chart(result, NAMES)) == [*NAMES, "predicted", *NAMES, "true class"]
    many = tuple(f"name {n}" for n in range(MAX_NAMED_CLASSES + 1))
    larger = replace(result, confusion=torch.eye(len(many), dtype=torch.int64).tolist())
    assert not set(texts(confusion_chart(larger, many))) & set(many)


def texts(svg: str) -> list[str | None]:
    return [each.text for each in ET.fromstring(svg).iter() if each.tag.endswith("}text")]
