"""Small SVG charts for pages: their elements carry classes, which the style sheet colours.

Coordinates are in the units of the chart's view box, with the origin at the top left corner.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

WIDTH = 360.0
"""Width of every chart's view box; a phone shows it about 1:1."""
_SHARE_TICKS = (0, 0.25, 0.5, 0.75, 1)


@dataclass(frozen=True)
class LinearScale:
    """Maps values from `low`..`high` to positions from `start`..`stop`."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """The position of a value; `start` for all values where the domain is a single point."""
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.0
        return self.start + share * (self.stop - self.start)


@dataclass(frozen=True)
class Bar:
    """One bar of a group."""

    label: str
    share: float
    """In [0, 1]; a share that is not a number is drawn as an empty bar."""
    style: str
    """CSS class."""


@dataclass(frozen=True)
class BarGroup:
    """Bars that show the same quantity, with the share that guessing would give."""

    title: str
    bars: Sequence[Bar]
    chance: float


def format_percent(share: float) -> str:
    """0.583 -> "58.3 %", with a no-break space; a dash where the share is not a finite number."""
    return f"{100 * share:.1f}\u00a0%" if math.isfinite(share) else "\u2013"


def nice_ticks(high: float, count: int = 5) -> list[float]:
    """About `count` values from 0 to at least `high`, 1, 2, 2.5 or 5 times a power of ten apart."""
    if not math.isfinite(high) or high <= 0:
        return [0.0, 1.0]
    rough = high / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [index * step for index in range(math.ceil(high / step - 1e-9) + 1)]


def running_mean(values: Sequence[float], window: int) -> list[float]:
    """Mean of the values at most half a window away on either side; at the ends, of those that there are."""
    half = max(window, 1) // 2
    near = [values[max(index - half, 0) : index + half + 1] for index in range(len(values))]
    return [sum(part) / len(part) for part in near]


def polyline(points: Sequence[tuple[float, float]], x_scale: LinearScale, y_scale: LinearScale) -> str:
    """Points in data units -> the `points` attribute of a polyline, to a tenth of a unit."""
    return " ".join(f"{x_scale(x):.1f},{y_scale(y):.1f}" for x, y in points)


def line_chart(points: Sequence[tuple[float, float]], description: str, x_label: str, *, percent: bool = False) -> str:
    """A noisy curve, faint, with its running mean on top.

    Args:
        points: (x, y) in order of x; points that are not finite are left out. With `percent`, y is a share in
            [0, 1].
        description: what a reader who does not see the chart is told.
        x_label: written under the x axis.
        percent: draw the y axis from 0 to 100 %; otherwise from 0 to a little above the largest value.

    Returns:
        An `svg` element.
    """
    points = [point for point in points if all(map(math.isfinite, point))]
    left, right, top, bottom = 40.0, WIDTH - 52, 12.0, 172.0
    x_ticks = nice_ticks(max((x for x, _ in points), default=0.0))
    y_ticks = [0, 0.25, 0.5, 0.75, 1] if percent else nice_ticks(max((y for _, y in points), default=0.0), count=6)
    x_high = max((x for x, _ in points), default=0.0)
    x_scale = LinearScale(0, x_high if x_high > 0 else 1, left, right)
    y_scale = LinearScale(0, y_ticks[-1], bottom, top)
    svg = chart_root(208, description)
    for tick in y_ticks:
        y = y_scale(tick)
        element(svg, "line", "grid" if tick else "axis", x1=left, x2=right, y1=y, y2=y)
        text(svg, f"{100 * tick:g} %" if percent else f"{tick:g}", left - 7, y + 4, "tick end")
    for tick in x_ticks:
        x = x_scale(tick)
        if x <= right + 0.5:
            element(svg, "line", "axis", x1=x, x2=x, y1=bottom, y2=bottom + 4)
            text(svg, f"{tick:,g}", x, bottom + 17, "tick middle")
    text(svg, x_label, (left + right) / 2, bottom + 33, "tick middle")
    if points:
        means = running_mean([y for _, y in points], window=max(len(points) // 12, 1))
        smooth = [(x, mean) for (x, _), mean in zip(points, means, strict=True)]
        element(svg, "polyline", "raw", points=polyline(points, x_scale, y_scale))
        element(svg, "polyline", "mean", points=polyline(smooth, x_scale, y_scale))
        _mark_end(svg, smooth, x_scale, y_scale, percent)
    return ET.tostring(svg, encoding="unicode")


def _mark_end(
    svg: ET.Element,
    smooth: Sequence[tuple[float, float]],
    x_scale: LinearScale,
    y_scale: LinearScale,
    percent: bool,
) -> None:
    """A dot at the end of the running mean, with its value."""
    x, y = smooth[-1]
    element(svg, "circle", "end", cx=x_scale(x), cy=y_scale(y), r=3)
    label = f"{100 * y:.0f} %" if percent else f"{y:.2f}"
    text(svg, label, x_scale(x) + 8, y_scale(y) + 4, "value")


def share_chart(
    points: Sequence[tuple[float, float]],
    description: str,
    x_label: str,
    *,
    radii: Sequence[float] = (),
    diagonal: bool = False,
) -> str:
    """A line through points whose x and y are shares in [0, 1], both axes from 0 to 100 %.

    Args:
        points: (x, y) in order of x.
        description: what a reader who does not see the chart is told.
        x_label: written under the x axis.
        radii: of a dot at each point; none: no dots.
        diagonal: mark where y equals x.

    Returns:
        An `svg` element.
    """
    left, right, top, bottom = 40.0, WIDTH - 12, 12.0, 212.0
    x_scale, y_scale = LinearScale(0, 1, left, right), LinearScale(0, 1, bottom, top)
    svg = chart_root(248, description)
    _share_axis(svg, x_scale, y_scale)
    for tick in _SHARE_TICKS:
        x = x_scale(tick)
        element(svg, "line", "axis", x1=x, x2=x, y1=bottom, y2=bottom + 4)
        text(svg, f"{100 * tick:g} %", x, bottom + 17, "tick middle")
    text(svg, x_label, (left + right) / 2, bottom + 33, "tick middle")
    if diagonal:
        element(svg, "line", "chance", x1=left, x2=right, y1=bottom, y2=top)
    element(svg, "polyline", "mean", points=polyline(points, x_scale, y_scale))
    for (x, y), radius in zip(points, radii, strict=True) if radii else ():
        element(svg, "circle", "dot", cx=x_scale(x), cy=y_scale(y), r=float(radius))
    return ET.tostring(svg, encoding="unicode")


def count_chart(points: Sequence[tuple[int, float]], description: str, x_label: str, marked: int) -> str:
    """Shares over counts, with the share written above each point; each doubling of the count is as wide.

    Args:
        points: (count, at least 1; share in [0, 1]) in order of the count.
        description: what a reader who does not see the chart is told.
        x_label: written under the x axis.
        marked: the count whose point is drawn as a ring.

    Returns:
        An `svg` element.
    """
    left, right, top, bottom = 40.0, WIDTH - 12, 24.0, 172.0
    inset = 22.0  # the first and the last figure are as wide
    logarithms = [math.log2(count) for count, _ in points]
    x_scale = LinearScale(logarithms[0], logarithms[-1], left + inset, right - inset)
    y_scale = LinearScale(0, 1, bottom, top)
    svg = chart_root(208, description)
    _share_axis(svg, LinearScale(0, 1, left, right), y_scale)
    shares = [share for _, share in points]
    element(svg, "polyline", "mean", points=polyline(list(zip(logarithms, shares, strict=True)), x_scale, y_scale))
    for (count, share), logarithm in zip(points, logarithms, strict=True):
        x, y = x_scale(logarithm), y_scale(share)
        element(svg, "line", "axis", x1=x, x2=x, y1=bottom, y2=bottom + 4)
        text(svg, f"{count:,}", x, bottom + 17, "tick middle")
        element(svg, "circle", "ring" if count == marked else "dot", cx=x, cy=y, r=4.0)
        text(svg, f"{100 * share:.1f}", x, y - 9, "value over middle")
    text(svg, x_label, (left + right) / 2, bottom + 33, "tick middle")
    return ET.tostring(svg, encoding="unicode")


def bar_chart(groups: Sequence[BarGroup], description: str) -> str:
    """Groups of horizontal bars from 0 to 100 %, each with its name and figure, and a mark at chance.

    Args:
        groups: from top to bottom.
        description: what a reader who does not see the chart is told.

    Returns:
        An `svg` element.
    """
    scale = LinearScale(0, 1, 112, WIDTH - 52)
    title_height, bar_height, pitch, gap = 22.0, 12.0, 17.0, 16.0
    height = sum(title_height + pitch * len(group.bars) + gap for group in groups) - gap + 2
    svg = chart_root(height, description)
    top = 0.0
    for group in groups:
        text(svg, group.title, 0, top + 13, "group")
        text(svg, f"chance {format_percent(group.chance)}", WIDTH, top + 13, "tick end")
        first = top + title_height
        for index, bar in enumerate(group.bars):
            y = first + index * pitch
            share = min(max(bar.share, 0.0), 1.0) if math.isfinite(bar.share) else 0.0
            text(svg, bar.label, scale.start - 8, y + 10, "tick end")
            element(svg, "rect", "track", x=scale.start, y=y, width=scale.stop - scale.start, height=bar_height)
            element(
                svg,
                "rect",
                bar.style,
                x=scale.start,
                y=y,
                width=scale(share) - scale.start,
                height=bar_height,
            )
            text(svg, format_percent(bar.share), WIDTH, y + 10, "value end")
        x, last = scale(group.chance), first + pitch * len(group.bars)
        for style in ("halo", "chance"):
            element(svg, "line", style, x1=x, x2=x, y1=first - 3, y2=last - (pitch - bar_height) + 3)
        top = last + gap
    return ET.tostring(svg, encoding="unicode")


# --- elements -----------------------------------------------------------------------------------------------


def _share_axis(svg: ET.Element, x_scale: LinearScale, y_scale: LinearScale) -> None:
    """Lines across the chart from 0 to 100 %."""
    for tick in _SHARE_TICKS:
        y = y_scale(tick)
        element(svg, "line", "grid" if tick else "axis", x1=x_scale.start, x2=x_scale.stop, y1=y, y2=y)
        text(svg, f"{100 * tick:g} %", x_scale.start - 7, y + 4, "tick end")


def chart_root(height: float, description: str, width: float = WIDTH) -> ET.Element:
    """An empty chart."""
    attributes = {
        "class": "chart",
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": description,
    }
    return ET.Element("svg", attributes)


def element(parent: ET.Element, tag: str, style: str, **attributes: float | str) -> ET.Element:
    """Add an element of a CSS class; lengths are rounded to a tenth of a unit."""
    values = {name: f"{value:.1f}" if isinstance(value, float) else str(value) for name, value in attributes.items()}
    return ET.SubElement(parent, tag, {"class": style, **values})


def text(parent: ET.Element, content: str, x: float, y: float, style: str) -> None:
    """Add a line of text."""
    element(parent, "text", style, x=x, y=y).text = content
