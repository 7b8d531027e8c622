"""The figures of a report show the numbers of the evaluation."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
import torch

from vitaclip.evaluate.evaluation import Evaluated
from vitaclip.evaluate.metrics import Scores, summarize
from vitaclip.evaluate.report import plots
from vitaclip.evaluate.report.summary import summarize_evaluation

NAMES = ("$jump", "🏃 run", "<b>sit</b>")


def evaluated(seed: int, count: int = 120) -> Evaluated:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    probabilities = torch.rand(count, 3, generator=generator).softmax(dim=1)
    scores = Scores(probabilities, labels, torch.arange(count))
    return Evaluated(scores, summarize(scores, NAMES))


def texts(svg: str) -> list[str | None]:
    return [each.text for each in ET.fromstring(svg).iter() if each.tag.endswith("}text")]


def test_bars_tell_each_class_accuracy() -> None:
    summary = summarize_evaluation(evaluated(0), NAMES)
    found = texts(plots.class_accuracy_chart(summary.classes))
    assert found[:3] == [f"{each.name} ({each.correct}/40)" for each in summary.classes]
    assert found[3:] == [f"{each.correct / 40:.1%}" for each in summary.classes]


def test_confusion_cells_are_per_cent_of_rows() -> None:
    result = evaluated(0).result
    found = texts(plots.confusion_chart(result, NAMES))
    cells = [f"{100 * count / sum(row):.0f}" for row in result.confusion for count in row if count]
    assert found == [*NAMES, "predicted", *NAMES, "true class", *cells]
    many = tuple(f"name {n}" for n in range(plots.MAX_NAMED_CLASSES + 1))
    larger = replace(result, confusion=torch.eye(len(many), dtype=torch.int64).tolist())
    assert not set(texts(plots.confusion_chart(larger, many))) & set(many)


def test_views_curve_tells_the_measured_values() -> None:
    result = replace(evaluated(0).result, view_top1=(0.25, 1.0))
    assert {"25.0", "100.0", "1", "2"} <= set(texts(plots.views_chart(result)))


@pytest.mark.parametrize(("count", "there"), [(99, False), (100, True)])
def test_few_videos_have_no_calibration_error(count: int, there: bool) -> None:
    summary = summarize_evaluation(evaluated(0, count), NAMES)
    assert (summary.calibration_error is not None) == there
