"""The confusion matrix of a report.

Axes: K classes.
"""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from vitaclip.evaluation.metrics import EvaluationResult
from vitaclip.figures import INK, drawing, shorten, to_svg

MAX_NAMED_CLASSES = 24
"""Classes up to which rows and columns have their names."""


def confusion_chart(result: EvaluationResult, names: Sequence[str]) -> Markup:
    """The confusion matrix as an `svg` element, each row in fractions of its true class: the stronger the colour, the
    larger.

    The colour follows the square root of the fraction, so that one video of fifty can be seen.
    """
    from matplotlib.colors import LinearSegmentedColormap

    counts = np.array(result.confusion, dtype=np.float64)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    named = len(names) <= MAX_NAMED_CLASSES
    side = 2.8 + 0.28 * len(names) if named else 6.0
    with drawing(side, side) as figure:
        axes = figure.subplots()
        clear_to_accent = LinearSegmentedColormap.from_list("", [(0.16, 0.42, 0.75, 0.04), (0.16, 0.42, 0.75, 1)])
        axes.imshow(np.sqrt(fractions), cmap=clear_to_accent, vmin=0, vmax=1, interpolation="none")
        axes.set(xlabel="predicted", ylabel="true class")
        axes.tick_params(length=0, labelcolor=INK)
        axes.spines[:].set_visible(not named)
        if named:
            labels = [shorten(name, 34) for name in names]
            axes.set_xticks(range(len(names)), labels, rotation=90)
            axes.set_yticks(range(len(names)), labels)
        spoken = f"{np.trace(counts):,.0f} of {counts.sum():,.0f} videos on the diagonal"
        return Markup(to_svg(figure, f"Confusion matrix of {len(names)} classes: {spoken}."))
