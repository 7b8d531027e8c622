"""The figures of a report, each as an `svg` element.

Axes: K classes.
"""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from vitaclip.evaluate.metrics import EvaluationResult
from vitaclip.evaluate.report.summary import ClassSummary
from vitaclip.figures import ACCENT, INK, bars, drawing, fraction_axis, shorten, to_svg

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


def views_chart(result: EvaluationResult) -> Markup:
    """Top-1 with the first 1, 2 .. V views of each video, each doubling as wide; a ring marks all views."""
    top1 = result.view_top1
    counts = list(range(1, len(top1) + 1))
    with drawing(WIDTH, 3.0) as figure:
        axes = figure.subplots()
        axes.plot(counts, top1, color=ACCENT, linewidth=2, marker="o", clip_on=False)
        axes.plot(counts[-1:], top1[-1:], "o", color=ACCENT, markersize=12, fillstyle="none")
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
        axes.set(xlabel="views of a video", ylabel="top-1")
        spoken = "; ".join(f"{count}: {value:.1%}" for count, value in zip(counts, top1, strict=True))
        return Markup(to_svg(figure, f"Top-1 over views of a video. {spoken}."))
