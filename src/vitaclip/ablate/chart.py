"""The table as a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vitaclip.figures import PALETTE, drawing, fraction_axis, shorten, to_svg


def spread_chart(rows: Mapping[str, Mapping[str, Sequence[float]]], description: str, label: str) -> str:
    """A line for each row. On it each test list has a dot at the mean, small ones for the seeds, and a bar of one
    standard deviation (of the population) to either side.

    Args:
        rows: row, test list, and a fraction in [0, 1] for each seed; rows from top to bottom.
        description: what a reader who does not see the figure is told.
        label: written under the axis.

    Returns:
        An `svg` element on white, so that it can be shown on any background.
    """
    tests = list(next(iter(rows.values())))
    pitch = 0.16 * len(tests) + 0.16
    with drawing(9, 1 + pitch * len(rows)) as figure:
        axes = figure.subplots()
        handles: list[Any] = []
        for number, test in enumerate(tests):
            heights = np.arange(len(rows)) + 0.6 * ((number + 0.5) / len(tests) - 0.5)
            values, color = [of_row[test] for of_row in rows.values()], PALETTE[number % len(PALETTE)]
            for height, seeds in zip(heights, values, strict=True):
                axes.plot(seeds, [height] * len(seeds), "o", color=color, alpha=0.4, markersize=3, clip_on=False)
            means, spreads = [np.mean(seeds) for seeds in values], [np.std(seeds) for seeds in values]
            handles.append(axes.errorbar(means, heights, xerr=spreads, fmt="o", color=color, markersize=5))
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
        fraction_axis(axes, vertical=False)
        axes.set_xlabel(label)
        figure.legend(handles, [shorten(test) for test in tests], loc="outside upper left", ncols=4)
        return to_svg(figure, description, ground="white")
