"""An explanation as one picture: the clip's frames from left to right, and below each what the model made of it.

Positions and sizes are in inches, from the top left corner. Axes: T frames.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vitaclip.explain.attention import label_and_color
from vitaclip.explain.explanation import Explanation
from vitaclip.explain.film_strip import overlay_heat
from vitaclip.figures import ACCENT, INK, RULE, SOFT, bars, drawing, fraction_axis, readable, shorten, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_AddAxes = Callable[[float, float, float, float], "Axes"]
"""From left, top, width and height."""
FRAMES_PER_ROW = 8
_MARGIN, _LABELS, _FRAME = 0.35, 1.75, 1.4
_WIDTH = 2 * _MARGIN + _LABELS + FRAMES_PER_ROW * _FRAME
_HEAD, _ROW, _PANEL_LINE = 1.45, 5.15, 0.34
_KEPT, _LOST = "#8fa2ba", "#c2394b"


def draw_explanation(explanation: Explanation) -> bytes:
    """The picture as PNG. A clip of more than 8 frames goes on in further rows."""
    frames = range(len(explanation.frames))
    rows = [frames[start : start + FRAMES_PER_ROW] for start in range(0, len(frames), FRAMES_PER_ROW)]
    panels = max(2.6, _PANEL_LINE * max(len(explanation.candidates), len(explanation.neighbours)))
    height = _HEAD + _ROW * len(rows) + 0.7 + panels + 0.7
    with drawing(_WIDTH, height) as figure:
        figure.set_layout_engine("none")

        def add_axes(left: float, top: float, width: float, tall: float) -> "Axes":
            return figure.add_axes((left / _WIDTH, 1 - (top + tall) / height, width / _WIDTH, tall / height))

        styles = (21, INK, 0.5), (11, SOFT, 0.85), (10, _LOST, 1.1)
        for (size, colour, top), line in zip(styles, _title(explanation), strict=True):
            figure.text(_MARGIN / _WIDTH, 1 - top / height, line, size=size, color=colour)
        overlays = overlay_heat(explanation.frames, explanation.attention.heat)
        for number, row in enumerate(rows):
            _draw_row(add_axes, _HEAD + number * _ROW, explanation, overlays, row)
        _draw_panels(add_axes, _HEAD + _ROW * len(rows) + 0.7, panels, explanation)
        return to_png(figure)


def _title(explanation: Explanation) -> tuple[str, str, str]:
    """The name with its probability; the clip, with the predicted name if it is another; and the warning."""
    candidate = next(each for each in explanation.candidates if each.name == explanation.name)
    number, clips = explanation.clip
    about = [readable("/".join(explanation.path.parts[-2:])), f"clip {number + 1} of {clips}"]
    if clips > 1:
        about[1] += f", {candidate.clip_probability:.1%} alone"
    predicted = explanation.candidates[0]
    if predicted.name != explanation.name:
        about.append(f"predicted: {_label(predicted.name, 40)}, {predicted.probability:.1%}")
    return f"{candidate.probability:.1%}  {_label(explanation.name, 60)}", "   |   ".join(about), explanation.warning


def _label(name: str, most: int = 30) -> str:
    return shorten(readable(name), most)


def _draw_row(add_axes: _AddAxes, top: float, explanation: Explanation, overlays: Tensor, row: Sequence[int]) -> None:
    """A row of frames: what they show, where their cls tokens attend, to which kinds, and what occluding each does."""
    left, width = _MARGIN + _LABELS, _FRAME * len(row)
    for n, (images, title, note) in enumerate(
        (
            (explanation.frames, "Frames", "the model's input"),
            (
                overlays,
                "Attention",
                f"of the cls token, last\nblock; brightest:\n{explanation.attention.heat.max():.1%} on a patch",
            ),
        )
    ):
        axes = add_axes(left, top + n * (_FRAME + 0.02), width, _FRAME)
        axes.imshow(film_strip(images[list(row)]), aspect="auto")
        axes.axis("off")
        _row_label(axes, title, note)
        for column, t in enumerate(row if n == 0 else ()):
            axes.text(
                (column + 0.485) / len(row),
                1.04,
                f"frame {explanation.frame_numbers[t]}",
                transform=axes.transAxes,
                ha="center",
                color=SOFT,
            )
    below = top + 2 * _FRAME + 0.15
    _draw_mass(add_axes(left, below, width, 1.0), explanation, row)
    _draw_occlusion(add_axes(left, below + 1.2, width, 0.6), explanation, row)


def film_strip(frames: Tensor, gap: float = 0.03) -> NDArray[np.uint8]:
    """Frames, uint8 (T, 3, H, W), beside each other in one image, each with a white gap of a part of W behind it."""
    white = round(gap * frames.shape[-1])
    padded = np.pad(frames.permute(0, 2, 3, 1).numpy(), ((0, 0), (0, 0), (0, white), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)


def _row_label(axes: "Axes", title: str, note: str) -> None:
    """The name of a row of the picture, to the left of it."""
    _beside(axes, title, 0, 0, size=12)
    _beside(axes, note, 0, 18, size=9, color=SOFT, linespacing=1.3)


def _beside(axes: "Axes", text: str, right: float, down: float, **style: Any) -> None:
    """Text in the column of labels, in points from its top left corner beside the axes."""
    place: dict[str, Any] = {"textcoords": "offset points", "va": "top", "annotation_clip": False}
    axes.annotate(text, (0, 1), (right - 72 * _LABELS, -down), "axes fraction", **(place | style))


def _bare(axes: "Axes", columns: int) -> None:
    """Leave only what is drawn: a column for each frame, from 0 to 100 %."""
    axes.set(xlim=(0, columns), ylim=(0, 1), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _draw_mass(axes: "Axes", explanation: Explanation, row: Sequence[int]) -> None:
    """A column for all the attention of a frame, divided by the kind of token that it goes to."""
    top = np.ones(len(row))
    middles = np.arange(len(row)) + 0.485
    for line, (kind, mass) in enumerate(explanation.attention.mass.items()):
        (label, color), part = label_and_color(kind), mass[list(row)].numpy()
        top = top - part
        axes.bar(middles, part, 0.97, top, color=color)
        for x, bottom, value in zip(middles, top, part, strict=True):
            if value >= 0.13:
                axes.text(x, bottom + value / 2, f"{value:.0%}", ha="center", va="center", size=9, color="white")
        _beside(axes, "■", 0, 18 + 13 * line, size=10, color=color)
        _beside(axes, label, 13, 18 + 13 * line, size=9, color=SOFT)
    _row_label(axes, "Attention mass", "")
    _bare(axes, len(row))


def _draw_occlusion(axes: "Axes", explanation: Explanation, row: Sequence[int]) -> None:
    """What is left of the name's probability without a frame, and what is lost, with a line at the whole."""
    whole = explanation.occlusion.curve[0]
    for column, t in enumerate(row):
        left, x = explanation.occlusion.single[t], column + 0.485
        axes.bar(x, 1, 0.97, color=RULE, alpha=0.5)
        axes.bar(x, left, 0.97, color=_KEPT)
        axes.bar(x, max(whole - left, 0), 0.97, left, color=_LOST)
        points = round(100 * (left - whole), 1) + 0  # no minus zero
        axes.text(x, -0.06, f"{left:.1%}\n{points:+.1f} points", ha="center", va="top", size=9)
    axes.axhline(whole, color=INK, linewidth=1)
    _row_label(axes, "Occlusion", "the name's probability\nwithout the frame; line:\nnothing occluded")
    _bare(axes, len(row))


def _draw_panels(add_axes: _AddAxes, top: float, height: float, explanation: Explanation) -> None:
    """The candidates, the probability as more and more frames are occluded, and the nearest names."""
    names, width = 2.6, (_WIDTH - 2 * _MARGIN) / 3
    candidates, neighbours = explanation.candidates, explanation.neighbours
    axes = add_axes(_MARGIN + names, top, width - names - 0.3, _PANEL_LINE * len(candidates))
    colours = [ACCENT if each.name == explanation.name else _KEPT for each in candidates]
    bars(axes, [_label(each.name) for each in candidates], [each.probability for each in candidates], colours)
    axes.set_title("Candidates: probability from all clips", x=-names / (width - names - 0.3))

    _draw_curve(add_axes(_MARGIN + width + 0.7, top, width - 1.2, height), explanation)

    axes = add_axes(_MARGIN + 2 * width + names, top, width - names - 0.3, _PANEL_LINE * len(neighbours))
    bars(axes, [_label(each.name) for each in neighbours], [each.cosine for each in neighbours], _KEPT, "{:.2f}")
    axes.set_title("Nearest names: cosine of the texts", x=-names / (width - names - 0.3))


def _draw_curve(axes: "Axes", explanation: Explanation) -> None:
    """The probability of the name over the number of frames occluded."""
    curve = explanation.occlusion.curve
    order = ", ".join(str(explanation.frame_numbers[t]) for t in explanation.occlusion.order[:-1])
    axes.plot(range(len(curve)), curve, color=ACCENT, linewidth=2, marker="o", clip_on=False)
    axes.set_xticks(range(0, len(curve), -(-len(curve) // 16)))
    axes.set(title="Occluding more and more frames", xlabel=f"frames occluded, in this order: {shorten(order, 40)}")
    fraction_axis(axes, vertical=True)
