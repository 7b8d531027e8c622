"""Writing a report: `index.html`, which holds all it shows, `result.json`, and `predictions.csv`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from vitaclip.config import VideoLimits
from vitaclip.data import FrameSampling, VideoError, VideoRow, load_views
from vitaclip.evaluate.evaluation import Evaluated
from vitaclip.evaluate.frames_curve import FramesCurve
from vitaclip.evaluate.metrics import EvaluationResult, wilson_interval
from vitaclip.evaluate.predictions import write_predictions
from vitaclip.evaluate.report.charts import count_chart, share_chart
from vitaclip.evaluate.report.findings import Findings, Pair, examine
from vitaclip.evaluate.report.page import frame_to_jpeg_uri, heat_table, page_environment, shares_to_png_uri
from vitaclip.evaluate.report.why import Explain, Why
from vitaclip.files import write_json, write_text
from vitaclip.version import __version__

PAGE_FILE, RESULT_FILE, PREDICTIONS_FILE = "index.html", "result.json", "predictions.csv"
LARGEST_TABLE = 24
"""Classes up to which the confusion matrix is drawn as a table; above, as a picture."""
EXTREMES = 8
_STRIP = FrameSampling("segments", 8)
_STRIP_SIDE = 112


@dataclass(frozen=True)
class Evaluatee:
    """What was evaluated, as the report names it."""

    title: str
    about: Mapping[str, str]
    """Facts shown beside the figures and written with them, such as the model and the views."""
    rows: Sequence[VideoRow]
    """The videos listed; the scores' `rows` count through them."""
    class_names: Sequence[str]
    sha256: Mapping[str, str]
    """Sums of lists, names and templates."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the result is written with, to be read on its own, such as templates and views; ready for JSON."""


@dataclass(frozen=True)
class Strip:
    """A misnamed video."""

    path: str
    probability: float
    """Of the wrong name."""
    true_probability: float
    frames: tuple[str, ...] = ()
    """Pictures as data URIs, in order of time."""
    why: Why | None = None
    """Of the wrong name; none if nobody tells it."""
    attended: tuple[str, ...] = ()
    """The frames of `why`, likewise."""
    trouble: str = ""
    """Why pictures are missing: parts of the video that were not scored may be damaged."""


def write_report(
    folder: str | Path,
    evaluatee: Evaluatee,
    evaluated: Evaluated,
    *,
    curve: FramesCurve | None = None,
    explain: Explain | None = None,
    limits: VideoLimits | None = None,
) -> Path:
    """Write the report of an evaluation into a folder.

    Args:
        folder: where to.
        evaluatee: what was evaluated.
        evaluated: how it went.
        curve: how it went with other numbers of frames.
        explain: tells why the misnamed videos that are shown got their names.
        limits: those that the videos were read with.

    Returns:
        The page.

    Raises:
        ValueError: if fewer than two videos were scored.
    """
    folder = Path(folder)
    findings = examine(evaluated, evaluatee.class_names)
    said = {"title": evaluatee.title, "about": dict(evaluatee.about), "sha256": dict(evaluatee.sha256)}
    measured = findings.to_dict() | ({"frames_curve": curve.to_dict()} if curve else {})
    said |= {"class_names": list(evaluatee.class_names), "version": __version__}
    write_json(folder / RESULT_FILE, said | dict(evaluatee.settings) | measured)
    write_predictions(folder / PREDICTIONS_FILE, evaluatee.rows, evaluatee.class_names, evaluated.scores)
    strips = [_strips(pair, evaluatee, evaluated, explain, limits or VideoLimits()) for pair in findings.pairs]
    write_text(folder / PAGE_FILE, render_page(evaluatee, findings, strips, curve))
    return folder / PAGE_FILE


def render_page(
    evaluatee: Evaluatee, findings: Findings, strips: Sequence[Sequence[Strip]], curve: FramesCurve | None = None
) -> str:
    """The page, as one HTML file; its script serves the search alone."""
    result, calibration = findings.result, findings.calibration
    ranked = sorted(findings.classes, key=lambda each: (-each.accuracy, each.name))
    best = min(EXTREMES, (len(ranked) + 1) // 2)
    small = len(evaluatee.class_names) <= LARGEST_TABLE
    bins = calibration.bins if calibration else ()
    reliability = [(each.confidence, each.accuracy, each.count) for each in bins]
    return (
        page_environment("vitaclip.evaluate.report")
        .get_template("page.html.j2")
        .render(
            evaluatee=evaluatee,
            findings=findings,
            result=result,
            calibration=calibration,
            best=ranked[:best],
            worst=ranked[: -min(EXTREMES, len(ranked) - best) - 1 : -1],
            interval=wilson_interval(result.top1, result.num_videos),
            heat=heat_table(result.confusion) if small else None,
            matrix=None if small else shares_to_png_uri(_row_shares(result)),
            confusions=_confusions(result, evaluatee.class_names),
            pairs=list(zip(findings.pairs, strips, strict=True)),
            explained=[strip.why for of_pair in strips for strip in of_pair if strip.why],
            reliability=_reliability_chart(reliability) if reliability else "",
            coverage=_coverage_chart(findings),
            curve=curve,
            frames=_frames_chart(curve) if curve else "",
            version=__version__,
        )
    )


def _reliability_chart(bins: Sequence[tuple[float, float, int]]) -> Markup:
    spoken = "; ".join(f"confidence {c:.0%}, accuracy {a:.0%}, {n} videos" for c, a, n in bins)
    points = [(confidence, accuracy) for confidence, accuracy, _ in bins]
    most = max(n for _, _, n in bins)
    radii = [2 + 5 * math.sqrt(n / most) for _, _, n in bins]
    return Markup(share_chart(points, f"Accuracy over confidence. {spoken}.", "confidence", radii=radii, diagonal=True))


def _coverage_chart(findings: Findings) -> Markup:
    spoken = "; ".join(f"{share:.0%} answered, {accuracy:.0%} right" for share, accuracy in findings.coverage)
    radii = (4.0,) if len(findings.coverage) == 1 else ()  # a line needs two points
    return Markup(
        share_chart(findings.coverage, f"Accuracy over videos answered. {spoken}.", "videos answered", radii=radii)
    )


def _frames_chart(curve: FramesCurve) -> Markup:
    spoken = "; ".join(f"{point.frames} frames, {point.top1:.1%} right" for point in curve.points)
    points = [(point.frames, point.top1) for point in curve.points]
    return Markup(count_chart(points, f"Top-1 over frames a clip. {spoken}.", "frames a clip", curve.reference))


def _strips(
    pair: Pair, evaluatee: Evaluatee, evaluated: Evaluated, explain: Explain | None, limits: VideoLimits
) -> list[Strip]:
    """Frames from all over the videos that stand for a pair."""
    scores, names = evaluated.scores, list(evaluatee.class_names)
    place = {row: n for n, row in enumerate(scores.rows.tolist())}
    strips = []
    for row in pair.examples:
        path, probabilities = evaluatee.rows[row].path, scores.probabilities[place[row]]
        strip = Strip(
            path="/".join(path.parts[-2:]),
            probability=float(probabilities[names.index(pair.chosen)]),
            true_probability=float(probabilities[names.index(pair.truth)]),
        )
        try:
            frames = load_views(path, _STRIP, 1, 1, _STRIP_SIDE, limits=limits)[0]
            strip = replace(strip, frames=tuple(map(frame_to_jpeg_uri, frames)))
        except VideoError as error:
            strip = replace(strip, trouble=str(error))
        try:
            if explain:
                why = explain(path, pair.chosen)
                strip = replace(strip, why=why, attended=tuple(map(frame_to_jpeg_uri, why.attended)))
        except VideoError as error:
            strip = replace(strip, trouble=str(error))
        strips.append(strip)
    return strips


def _confusions(result: EvaluationResult, names: Sequence[str]) -> dict[str, Any]:
    """What the page's script searches: names, and [true, chosen, count] of each cell that is not empty."""
    filled = [
        [true, chosen, count] for true, row in enumerate(result.confusion) for chosen, count in enumerate(row) if count
    ]
    return {"names": list(names), "cells": filled}


def _row_shares(result: EvaluationResult) -> NDArray[np.float64]:
    counts = np.array(result.confusion, dtype=np.float64)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
