"""A page of what happens when in one video: film strip, a curve a class, and segments that play when clicked.

Axes: N steps of the curves.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from vitaclip.data.config import DataConfig
from vitaclip.data.reading.container import VideoError
from vitaclip.files import check_own, write_text
from vitaclip.moments.table import Moments, Segment
from vitaclip.report.html import PAGE_FILE, film_strip, render_template

MAX_ROWS = 24
"""Classes with segments that have a row, those with the surest ones first."""
_STRIP_FRAMES, _CURVE_POINTS = 16, 1000


@dataclass(frozen=True)
class TimelineRow:
    """A class on the page."""

    name: str
    segments: tuple[Segment, ...]
    points: str
    """The curve as the points of an SVG polyline, in a box of 1 x 1."""


def write_timeline(folder: str | Path, moments: Moments, data: DataConfig | None = None) -> Path:
    """Write the page of a video as `index.html` in a folder, and return its path. The video itself stays where it is:
    the page names it relative to the folder, and plays what a browser can.

    >>> write_timeline("timeline", predictor.moments("film.mp4"))  # doctest: +SKIP
    PosixPath('timeline/index.html')

    Raises:
        ValueError: there is an `index.html` that is not of ours.
    """
    page = Path(folder) / PAGE_FILE
    check_own(page, "vitaclip")
    surest = {each.label: each.score for each in sorted(moments.segments, key=lambda each: each.score)}
    rows = [_row(moments, name) for name in sorted(surest, key=lambda name: (-surest[name], name))]
    try:
        frames, problem = film_strip(moments.path, data or DataConfig(), _STRIP_FRAMES), ""
    except VideoError as error:
        frames, problem = [], str(error)
    source = os.path.relpath(moments.path.resolve(), page.parent.resolve()) if isinstance(moments.path, Path) else ""
    text = render_template(
        "timeline.html.j2",
        moments=moments,
        rows=rows[:MAX_ROWS],
        num_classes=len(rows),
        frames=frames,
        problem=problem,
        source=quote(source),
        clock=_clock,
        share=lambda seconds: f"{100 * min(1.0, seconds / moments.duration_s):.4f}%",
        minutes=max(1, moments.duration_s / 60),
        ticks=np.linspace(0, moments.duration_s, 9)[:-1].tolist(),
    )
    write_text(page, text)
    return page


def _row(moments: Moments, name: str) -> TimelineRow:
    """A row, whose curve has the highest value of each stretch, so that a peak of a long film is not lost."""
    curve = moments.curves[:, moments.names.index(name)]
    stretches = np.array_split(np.arange(len(curve)), min(len(curve), _CURVE_POINTS))
    points = [(moments.times_s[part].mean() / moments.duration_s, 1 - curve[part].max()) for part in stretches]
    segments = tuple(each for each in moments.segments if each.label == name)
    return TimelineRow(name, segments, " ".join(f"{x:.4f},{y:.3f}" for x, y in points))


def _clock(seconds: float) -> str:
    """75.25 -> "1:15.2"; with hours where there are some."""
    tenths = round(10 * seconds)
    hours = f"{tenths // 36000}:{tenths // 600 % 60:02}" if tenths >= 36000 else f"{tenths // 600}"
    return f"{hours}:{tenths // 10 % 60:02}.{tenths % 10}"
