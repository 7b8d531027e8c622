"""The figures of a report, each as an `svg` element.

Axes: K classes.
"""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from vitaclip.evaluation.metrics import EvaluationResult
from vitaclip.figures import INK, bars, drawing, shorten, to_svg

WIDTH = 4.9
"""Inches: about the width of a phone at 72 units an inch."""
MAX_NAMED_CLASSES = 24
"""Classes up to which the confusion matrix names its rows and columns and writes a figure into each cell."""


def class_accuracy_chart(labels: Sequence[str], fractions: Sequence[float]) -> Markup:
    """A bar for each class, with its accuracy."""
    spoken = "; ".join(f"{label} {fraction:.1%}" for label, fraction in zip(labels, fractions, strict=True))
    with drawing(WIDTH, 0.35 + 0.29 * len(labels)) as figure:
        bars(figure.subplots(), labels, fractions)
        return Markup(to_svg(figure, f"Accuracy by class. {spoken}."))


def confusion_chart(result: EvaluationResult, names: Sequence[str]) -> Markup:
    """The confusion matrix, each row in fractions of its true class: the stronger the colour, the larger.

    The colour follows the square root of the fraction, so that one video of fifty can be seen.
    """
    from matplotlib.colors import LinearSegmentedColormap

    counts = np.array(result.confusion, dtype=np.float64)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
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
            for true, predicted in np.argwhere(counts):
                fraction = fractions[true, predicted]
                color = "white" if fraction > 0.3 else INK
                axes.text(predicted, true, f"{100 * fraction:.0f}", ha="center", va="center", size=9, color=color)
        spoken = f"{np.trace(counts):,.0f} of {counts.sum():,.0f} videos on the diagonal"
        return Markup(to_svg(figure, f"Confusion matrix of {len(names)} classes: {spoken}."))
