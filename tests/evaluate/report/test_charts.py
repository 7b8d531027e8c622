"""Charts: points land where they should, and poor data draws a poor chart, not an error."""

import math
from xml.etree import ElementTree as ET

import pytest

from vitaclip.evaluate.report.charts import (
    WIDTH,
    Bar,
    BarGroup,
    LinearScale,
    bar_chart,
    count_chart,
    format_percent,
    line_chart,
    nice_ticks,
    polyline,
    running_mean,
)


def elements(svg: str, tag: str, style: str) -> list[ET.Element]:
    return [element for element in ET.fromstring(svg).iter(tag) if style in element.attrib["class"].split()]


def test_a_scale_maps_the_ends_of_its_domain_to_the_ends_of_its_range() -> None:
    scale = LinearScale(2, 6, 100, 20)
    assert [scale(2), scale(3), scale(6)] == [100, 80, 20]
    assert LinearScale(3, 3, 7, 9)(3) == 7


def test_points_map_to_their_coordinates() -> None:
    x_scale, y_scale = LinearScale(0, 10, 0, 100), LinearScale(0, 2, 50, 0)
    assert polyline([(0, 0), (5, 1), (10, 2)], x_scale, y_scale) == "0.0,50.0 50.0,25.0 100.0,0.0"


@pytest.mark.parametrize(
    ("high", "count", "ticks"),
    [
        (400, 5, [0, 100, 200, 300, 400]),
        (1, 5, [0, 0.25, 0.5, 0.75, 1]),
        (5.2, 6, [0, 2, 4, 6]),
        (0.003, 4, [0, 0.001, 0.002, 0.003]),
        (0, 5, [0, 1]),
        (math.nan, 5, [0, 1]),
    ],
)
def test_ticks_are_round_and_reach_the_highest_value(high: float, count: int, ticks: list[float]) -> None:
    assert nice_ticks(high, count) == pytest.approx(ticks)


def test_running_mean_takes_the_neighbours_that_there_are() -> None:
    assert running_mean([0, 3, 6, 0], window=3) == [1.5, 3, 3, 3]
    assert running_mean([4, 8], window=1) == [4, 8]
    assert running_mean([], window=5) == []


def test_a_percentage_has_one_decimal_and_a_space_that_does_not_break() -> None:
    assert format_percent(0.1249) == "12.5\u00a0%"
    assert format_percent(math.nan) == "\u2013"


def test_the_line_chart_spans_its_axes() -> None:
    svg = line_chart([(0, 0.0), (50, 0.5), (100, 1.0)], "a rise", "step", percent=True)
    (raw,) = elements(svg, "polyline", "raw")
    (x0, y0), (x1, y1), (x2, y2) = [tuple(map(float, pair.split(","))) for pair in raw.attrib["points"].split()]
    (axis,) = [line for line in elements(svg, "line", "axis") if line.attrib["y1"] == line.attrib["y2"]]
    grid = elements(svg, "line", "grid")
    assert (x0, y0) == (float(axis.attrib["x1"]), float(axis.attrib["y1"]))
    assert (x2, y2) == (float(axis.attrib["x2"]), min(float(line.attrib["y1"]) for line in grid))
    assert (x1, y1) == pytest.approx(((x0 + x2) / 2, (y0 + y2) / 2))
    assert [text.text for text in elements(svg, "text", "value")] == ["100 %"]


@pytest.mark.parametrize("points", [[], [(7.0, 0.4)], [(0.0, 0.0)], [(1.0, math.nan), (2.0, math.inf)]])
def test_a_curve_without_length_is_drawn(points: list[tuple[float, float]]) -> None:
    for percent in (False, True):
        svg = line_chart(points, "short", "step", percent=percent)
        assert "nan" not in svg
        assert "inf" not in svg
        assert len(elements(svg, "circle", "end")) == sum(math.isfinite(y) for _, y in points)


def test_counts_stand_a_doubling_apart_with_their_share_above() -> None:
    svg = count_chart([(1, 0.0), (2, 0.5), (8, 1.0)], "frames", "frames a clip", marked=2)
    (line,) = elements(svg, "polyline", "mean")
    (x0, y0), (x1, y1), (x2, y2) = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert x1 - x0 == pytest.approx((x2 - x0) / 3, abs=0.1)
    (axis,) = [line for line in elements(svg, "line", "axis") if line.attrib["y1"] == line.attrib["y2"]]
    assert y0 == float(axis.attrib["y1"])
    assert y1 == pytest.approx((y0 + y2) / 2)
    (ring,) = elements(svg, "circle", "ring")
    assert float(ring.attrib["cx"]) == x1
    assert len(elements(svg, "circle", "dot")) == 2
    assert [text.text for text in elements(svg, "text", "value")] == ["0.0", "50.0", "100.0"]
    assert "nan" not in count_chart([(4, 0.5)], "one", "frames a clip", marked=4)


def test_bars_are_as_long_as_their_shares() -> None:
    bars = [Bar("none", 0.0, "before"), Bar("half", 0.5, "before"), Bar("all", 1.0, "before")]
    svg = bar_chart([BarGroup("group", [*bars, Bar("unknown", math.nan, "before")], chance=0.5)], "bars")
    track = elements(svg, "rect", "track")[0]
    start, full = float(track.attrib["x"]), float(track.attrib["width"])
    lengths = [float(bar.attrib["width"]) for bar in elements(svg, "rect", "before")]
    assert lengths == pytest.approx([0, full / 2, full, 0])
    (chance,) = elements(svg, "line", "chance")
    assert float(chance.attrib["x1"]) == pytest.approx(start + full / 2)
    assert start + full < WIDTH
    assert [text.text for text in elements(svg, "text", "value")] == [
        "0.0\u00a0%",
        "50.0\u00a0%",
        "100.0\u00a0%",
        "\u2013",
    ]


def test_markup_in_labels_stays_text() -> None:
    svg = bar_chart([BarGroup("<i>", [Bar("a&b", 0.1, "before")], chance=0.1)], '"quoted" <b>')
    root = ET.fromstring(svg)
    assert root.attrib["aria-label"] == '"quoted" <b>'
    assert {"<i>", "a&b"} <= {text.text for text in root.iter("text")}
