"""The picture: dots where the values are, on a scale from 0 to 100 %."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest

from vitaclip.ablate.chart import Spread, spread_chart

SVG = "{http://www.w3.org/2000/svg}"
SPREADS = [
    Spread("full", "trained", (0.2, 0.4, 0.9)),
    Spread("full", "novel", (0.0, 1.0)),
    Spread("<less>", "trained", (0.5,)),
]


def test_dots_and_bars_are_where_the_values_are() -> None:
    root = ET.fromstring(spread_chart(SPREADS, "a & b", "top1"))
    grid = sorted(float(line.attrib["x1"]) for line in root.iter(f"{SVG}line") if line.attrib["class"] == "grid")
    start, stop = grid[0], grid[-1]

    def shares(tag: str, style: str, *names: str) -> list[tuple[float, ...]]:
        found = [each for each in root.iter(f"{SVG}{tag}") if each.attrib["class"] == style]
        return [tuple((float(each.attrib[name]) - start) / (stop - start) for name in names) for each in found]

    means = [np.mean(each.values) for each in SPREADS]
    legend = 2
    assert [x for (x,) in shares("circle", "mean", "cx")][legend:] == pytest.approx(means, abs=1e-3)
    seeds = [value for each in SPREADS for value in each.values]
    assert [x for (x,) in shares("circle", "seed", "cx")] == pytest.approx(seeds, abs=1e-3)
    for (low, high), each in zip(shares("line", "deviation", "x1", "x2"), SPREADS, strict=True):
        assert low == pytest.approx(np.mean(each.values) - np.std(each.values), abs=1e-3)
        assert high == pytest.approx(np.mean(each.values) + np.std(each.values), abs=1e-3)


def test_rows_and_lists_are_named_and_markup_stays_text() -> None:
    root = ET.fromstring(spread_chart(SPREADS, "a & b", "top1"))
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert {"full", "<less>", "trained", "novel", "top1"} <= set(texts)
    assert texts.count("full") == 1
    assert root.attrib["aria-label"] == "a & b"
