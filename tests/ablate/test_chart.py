"""The figure of an ablation names its rows and lists, and draws its values."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from vitaclip.ablate.chart import spread_chart

ROWS = {
    "full": {"_trained": (0.2, 0.4, 0.9), "novel": (0.0, 1.0, 0.5)},
    "<less>": {"_trained": (0.5,) * 3, "novel": (0.25,) * 3},
}


def test_dots_and_bars_are_where_the_values_are(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []

    def keep(figure: Figure, _description: str, **_options: str) -> str:
        figures.append(figure)
        return ""

    monkeypatch.setattr("vitaclip.ablate.chart.to_svg", keep)
    spread_chart(ROWS, "", "top1")
    (axes,) = figures[0].axes
    expected = [ROWS[row][test] for test in ("_trained", "novel") for row in ROWS]
    dots = [np.asarray(line.get_xdata(), dtype=np.float64) for line in axes.lines]
    np.testing.assert_allclose(np.concatenate([each for each in dots if len(each) == 3]), np.concatenate(expected))
    means = np.concatenate([each for each in dots if len(each) == len(ROWS)])
    np.testing.assert_allclose(means, [np.mean(each) for each in expected])
    bars = [part for each in axes.collections if isinstance(each, LineCollection) for part in each.get_segments()]
    halves = [(right[0] - left[0]) / 2 for left, right in bars]
    np.testing.assert_allclose(halves, [np.std(each) for each in expected], atol=1e-12)


def test_rows_and_lists_are_named_as_text() -> None:
    root = ET.fromstring(spread_chart(ROWS, "a & b", "top1"))
    texts = [each.text for each in root.iter() if each.tag.endswith("}text")]
    assert {"full", "<less>", "_trained", "novel", "top1"} <= set(texts)
    assert root.attrib["aria-label"] == "a & b"
