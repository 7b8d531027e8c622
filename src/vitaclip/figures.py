"""Drawing by matplotlib: one style for every figure, fonts for other scripts, and SVG that follows a page's colours.

matplotlib is imported inside the functions, because it takes time to load that most commands do not need.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from html import escape
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, RULE, ACCENT = "#1b1f24", "#5a626c", "#d8d5cc", "#2a6bbf"
"""Text, quieter text, grid lines, and the data of a figure. A page may give each its own value for dark screens."""
_CSS = {INK: "ink", SOFT: "soft", RULE: "rule", ACCENT: "accent"}
_FONTS = (
    *("DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Emoji", "Symbola", "Arial Unicode MS"),
    *("Segoe UI Emoji", "Microsoft YaHei", "Malgun Gothic", "Hiragino Sans"),
    *("Noto Sans Arabic", "Noto Sans Devanagari"),
)
"""matplotlib looks for a glyph in these fonts, in this order; only the first comes with it."""


@contextmanager
def drawing(width: float, height: float) -> "Iterator[Figure]":
    """A figure of `width` x `height` inches in the style of all figures, which holds until the block ends.

    Formulas are off, so that a class called `$x$` is written as it is. Characters that no font has cause no warning: a
    browser draws them in SVG, and in a PNG they are boxes.

    >>> with drawing(4, 3) as figure:
    ...     _ = figure.subplots().plot([0, 1])
    ...     svg = to_svg(figure, "a line")
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rules: Any = {
        **{"font.family": list(_installed_fonts()), "font.size": 10, "text.parse_math": False, "text.color": INK},
        **{"axes.edgecolor": SOFT, "axes.labelcolor": SOFT, "xtick.color": SOFT, "ytick.color": SOFT},
        **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "grid.color": RULE},
        **{"axes.titlesize": 11, "axes.titlelocation": "left", "svg.fonttype": "none", "legend.frameon": False},
    }
    with rc_context(rules), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        yield Figure(figsize=(width, height), layout="constrained")


def to_svg(figure: "Figure", description: str) -> str:
    """The figure as an `svg` element for a page.

    Text stays text, so that the reader's own fonts draw it. The colours INK, SOFT, RULE and ACCENT become the custom
    properties `--ink`, `--soft`, `--rule` and `--accent` of the page, where it has them.

    Args:
        figure: from `drawing`, inside its block.
        description: what a reader who does not see the figure is told. Two figures of a page have different ones,
            because the ids of their parts are made from it.
    """
    from matplotlib import rc_context

    buffer = StringIO()
    with rc_context({"svg.hashsalt": description}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].rstrip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[\w.]+_\d+"', "", svg)  # numbers of parts, which repeat in every figure of a page
    for colour, name in _CSS.items():
        svg = svg.replace(colour, f"var(--{name}, {colour})")
    return svg.replace("<svg", f'<svg class="chart" role="img" aria-label="{escape(description)}"', 1)


def to_png(figure: "Figure", pixels_per_inch: int = 120) -> bytes:
    """The figure as PNG on white."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=pixels_per_inch, facecolor="white")
    return buffer.getvalue()


def fraction_axis(axes: "Axes") -> None:
    """The vertical axis from 0 to 100 %, with a grid."""
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y")


def bars(
    axes: "Axes",
    labels: Sequence[str],
    fractions: Sequence[float],
    colours: str | Sequence[str] = ACCENT,
    form: str = "{:.1%}",
) -> None:
    """Horizontal bars from 0 to 100 %, from top to bottom, each with its label before it and its value behind it."""
    rows = range(len(labels))
    drawn = axes.barh(rows, [max(value, 0) for value in fractions], height=0.55, color=colours)
    axes.bar_label(drawn, [form.format(value) for value in fractions], padding=4)
    axes.set_yticks(rows, labels)
    axes.tick_params(axis="y", length=0, pad=6, labelcolor=INK)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, 1.16)  # room behind a bar of 100 % for its value
    axes.set_xticks([])
    axes.spines[["bottom", "left"]].set_visible(False)


def shorten(text: str, most: int = 28) -> str:
    """The text on one line, its end cut off with an ellipsis where it has more than `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


@cache
def _installed_fonts() -> tuple[str, ...]:
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return tuple(font for font in _FONTS if font in installed)
