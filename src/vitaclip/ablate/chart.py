"""The table as a picture: an SVG file that needs no style sheet, to be shown on any background."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from vitaclip.evaluate.report.charts import LinearScale, chart_root, element, text

COLOURS = ("#0b6e8a", "#c4521b", "#5b4aa5", "#3c7a2a")
"""One a test list, from the first again after the last."""
_WIDTH, _PITCH, _TOP = 680.0, 26.0, 44.0
_LETTER = 7.0
"""Room for a letter of a row's name."""
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #222 }
.end { text-anchor: end } .middle { text-anchor: middle } .tick { fill: #555; font-size: 11px }
.back { fill: #fff } .grid { stroke: #ddd } .row { stroke: #f0f0f0 }
"""


@dataclass(frozen=True)
class Spread:
    """Values of one row on one test list, a seed each; shares in [0, 1]."""

    row: str
    test: str
    values: tuple[float, ...]


def spread_chart(spreads: Sequence[Spread], description: str, x_label: str) -> str:
    """A line for each row, and on it for each test list a dot at the mean, small ones for the seeds, and a bar of one
    standard deviation (of the population) to either side.

    Args:
        spreads: in the order of the rows from top to bottom.
        description: what a reader who does not see the chart is told.
        x_label: written under the x axis, which runs from 0 to 100 %.

    Returns:
        An `svg` element with its own style.
    """
    rows = list(dict.fromkeys(spread.row for spread in spreads))
    tests = list(dict.fromkeys(spread.test for spread in spreads))
    bottom = _TOP + _PITCH * len(rows)
    svg = chart_root(bottom + 40, description, _WIDTH)
    svg.set("xmlns", "http://www.w3.org/2000/svg")
    colours = {test: COLOURS[place % len(COLOURS)] for place, test in enumerate(tests)}
    ET.SubElement(svg, "style").text = _STYLE
    element(svg, "rect", "back", x=0, y=0, width=_WIDTH, height=bottom + 40)
    scale = LinearScale(0, 1, 24 + _LETTER * max(map(len, rows)), _WIDTH - 24)
    for tick in (0, 0.25, 0.5, 0.75, 1):
        element(svg, "line", "grid", x1=scale(tick), x2=scale(tick), y1=_TOP - 8, y2=bottom)
        text(svg, f"{100 * tick:g} %", scale(tick), bottom + 15, "tick middle")
    text(svg, x_label, (scale.start + scale.stop) / 2, bottom + 32, "tick middle")
    for place, (test, colour) in enumerate(colours.items()):
        x = scale.start + 150 * place
        element(svg, "circle", "mean", cx=x + 4, cy=18, r=4, fill=colour)
        text(svg, test, x + 14, 22, "legend")
    for place, row in enumerate(rows):
        y = _TOP + _PITCH * (place + 0.5)
        element(svg, "line", "row", x1=scale.start, x2=scale.stop, y1=y, y2=y)
        text(svg, row, scale.start - 12, y + 4, "end")
    for spread in spreads:
        offset = 7 * (tests.index(spread.test) - (len(tests) - 1) / 2)
        _draw(svg, spread, scale, _TOP + _PITCH * (rows.index(spread.row) + 0.5) + offset, colours[spread.test])
    return ET.tostring(svg, encoding="unicode")


def _draw(svg: ET.Element, spread: Spread, scale: LinearScale, y: float, colour: str) -> None:
    mean, deviation = statistics.fmean(spread.values), statistics.pstdev(spread.values)
    low, high = scale(max(mean - deviation, 0)), scale(min(mean + deviation, 1))
    element(svg, "line", "deviation", x1=low, x2=high, y1=y, y2=y, stroke=colour, **{"stroke-width": "2"})
    for value in spread.values:
        element(svg, "circle", "seed", cx=scale(value), cy=y, r=2, fill=colour, **{"fill-opacity": "0.45"})
    element(svg, "circle", "mean", cx=scale(mean), cy=y, r=4, fill=colour)
