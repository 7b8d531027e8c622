"""The figures of a report, each as an `svg` element.

Axes: K classes.
"""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from vitaclip.evaluate.frames_curve import FramesCurve
from vitaclip.evaluate.metrics import EvaluationResult
from vitaclip.evaluate.report.summary import ClassSummary, EvalSummary
from vitaclip.figures import ACCENT, INK, SOFT, bars, drawing, fraction_axis, shorten, to_svg

WIDTH = 4.9
"""Inches: about the width of a phone at 72 units an inch."""
MAX_NAMED_CLASSES = 24
"""Classes up to which the confusion matrix names its rows and columns and writes a figure into each cell."""


def class_accuracy_chart(classes: Sequence[ClassSummary]) -> Markup:
    """A bar for each class, with its accuracy."""
    labels = [f"{shorten(each.name, 34)} ({each.correct}/{each.videos})" for each in classes]
    spoken = "; ".join(f"{each.name} {each.accuracy:.1%} of {each.videos}" for each in classes)
    with drawing(WIDTH, 0.35 + 0.29 * len(classes)) as figure:
        bars(figure.subplots(), labels, [each.accuracy for each in classes])
        return Markup(to_svg(figure, f"Accuracy by class. {spoken}."))


def confusion_chart(result: EvaluationResult, names: Sequence[str]) -> Markup:
    """The confusion matrix, each row in fractions of its true class: the stronger the colour, the larger.

    The colour follows the square root of the fraction, so that one video of fifty can be seen.
    """
    from matplotlib.colors import LinearSegmentedColormap

    counts = np.array(result.confusion, dtype=np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    fractions = counts / np.maximum(totals, 1)
    named = len(names) <= MAX_NAMED_CLASSES
    side = max(WIDTH, 2 + 0.36 * len(names)) if named else 7.0
    with drawing(side, side) as figure:
        axes = figure.subplots()
        clear_to_accent = LinearSegmentedColormap.from_list("", [(0.16, 0.42, 0.75, 0.04), (0.16, 0.42, 0.75, 1)])
        axes.imshow(np.sqrt(fractions), cmap=clear_to_accent, vmin=0, vmax=1, interpolation="none")
        axes.set(xlabel="predicted", ylabel="true class")
        axes.tick_params(length=0, labelcolor=INK)
        axes.spines[:].set_visible(not named)
        if named:
            labels = [shorten(name, 22) for name in names]
            axes.set_xticks(range(len(names)), labels, rotation=90)
            axes.set_yticks(range(len(names)), labels)
            for true, predicted in zip(*counts.nonzero(), strict=True):
                strong = fractions[true, predicted] > 0.3
                text = f"{100 * fractions[true, predicted]:.0f}"
                axes.text(predicted, true, text, ha="center", va="center", color="white" if strong else INK, size=9)
        spoken = f"{np.trace(counts):,.0f} of {counts.sum():,.0f} videos on the diagonal"
        return Markup(to_svg(figure, f"Confusion matrix of {len(names)} classes: {spoken}."))


def reliability_chart(summary: EvalSummary) -> Markup:
    """Accuracy over confidence; the area of a dot is the number of its videos."""
    bins = summary.calibration.bins if summary.calibration else ()
    most = max((each.count for each in bins), default=1)
    confidence, accuracy = [each.confidence for each in bins], [each.accuracy for each in bins]
    with drawing(WIDTH, 3.4) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=SOFT, linestyle="--", linewidth=1)
        axes.plot(confidence, accuracy, color=ACCENT, linewidth=1.5, clip_on=False)
        axes.scatter(confidence, accuracy, [12 + 120 * each.count / most for each in bins], color=ACCENT, clip_on=False)
        fraction_axis(axes, vertical=True)
        fraction_axis(axes, vertical=False)
        axes.set(xlabel="confidence", ylabel="accuracy")
        spoken = "; ".join(f"confidence {b.confidence:.0%}, accuracy {b.accuracy:.0%}, {b.count} videos" for b in bins)
        return Markup(to_svg(figure, f"Accuracy over confidence. {spoken}."))


def coverage_chart(summary: EvalSummary) -> Markup:
    """Accuracy over the fraction of videos answered."""
    with drawing(WIDTH, 3.4) as figure:
        axes = figure.subplots()
        axes.plot(*zip(*summary.coverage, strict=True), color=ACCENT, linewidth=2, clip_on=False)
        fraction_axis(axes, vertical=True)
        fraction_axis(axes, vertical=False)
        axes.set(xlabel="videos answered", ylabel="accuracy")
        spoken = "; ".join(
            f"{answered:.0%} answered, {accuracy:.0%} correct" for answered, accuracy in summary.coverage
        )
        return Markup(to_svg(figure, f"Accuracy over videos answered. {spoken}."))


def views_chart(result: EvaluationResult) -> Markup:
    """Top-1 with the first 1, 2 .. V views of each video."""
    counts = range(1, len(result.view_top1) + 1)
    return _top1_chart("views of a video", list(counts), list(result.view_top1), len(counts))


def frames_chart(curve: FramesCurve) -> Markup:
    """Top-1 over the number of frames in a clip."""
    points = [point.frames for point in curve.points], [point.top1 for point in curve.points]
    return _top1_chart("frames in a clip", *points, curve.reference)


def _top1_chart(label: str, counts: list[int], top1: list[float], reference: int) -> Markup:
    """Top-1 over counts, each doubling as wide; the count of the evaluation itself has a ring."""
    with drawing(WIDTH, 3.0) as figure:
        axes = figure.subplots()
        axes.plot(counts, top1, color=ACCENT, linewidth=2, marker="o", clip_on=False)
        axes.plot([reference], [top1[counts.index(reference)]], "o", color=ACCENT, markersize=12, fillstyle="none")
        for count, value in zip(counts, top1, strict=True):
            below = value > 0.88
            offset, side = (0, -10 if below else 9), "top" if below else "bottom"
            axes.annotate(
                f"{100 * value:.1f}", (count, value), offset, textcoords="offset points", ha="center", va=side
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.margins(x=0.08)
        fraction_axis(axes, vertical=True)
        axes.set(xlabel=label, ylabel="top-1")
        spoken = "; ".join(f"{count}: {value:.1%}" for count, value in zip(counts, top1, strict=True))
        return Markup(to_svg(figure, f"Top-1 over {label}. {spoken}."))
