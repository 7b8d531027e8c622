"""An explanation as one picture: the clip's frames from left to right, and below each what the model made of it.

Lengths are in the units of the canvas. Axes: T frames.
"""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO

import torch
from torch import Tensor

from vitaclip.explain.canvas import FAINT, INK, PAPER, SOFT, Canvas, heat_over_frames, ramp
from vitaclip.explain.explanation import Explanation

KINDS = {
    "patches": ("patches", "#e0762b"),
    "itself": ("itself", "#9aa4b2"),
    "global": ("global prompts", "#2f6fb3"),
    "local": ("local prompts", "#2f9c86"),
    "summary": ("summary token", "#8a5ab0"),
}
"""What a cls token may look at: what the picture calls it, and its colour."""
_NAMED, _KEPT, _LOST, _EMPTY = "#3f5877", "#8fa2ba", "#c2394b", "#f1f3f6"
"""Colours of the explained name, of what is left of its probability, of what is lost, and of the rest."""
_MARGIN, _LABELS, _SIDE, _GAP, _IN_A_BAND = 32, 150, 124, 8, 8
_WIDTH = 2 * _MARGIN + _LABELS + _IN_A_BAND * (_SIDE + _GAP) - _GAP
_HEAD, _BAND, _CURVE, _TITLE, _ROW = 104, 552, 276, 58, 36
_SHARES, _HIDING = 104, 62
_PANEL_GAP = 56
_PANEL = (_WIDTH - 2 * _MARGIN - 2 * _PANEL_GAP) / 3


def draw_explanation(explanation: Explanation) -> bytes:
    """The picture, as PNG. Clips of more than 8 frames go on in further rows."""
    frames = range(len(explanation.frames))
    bands = [frames[start : start + _IN_A_BAND] for start in range(0, len(frames), _IN_A_BAND)]
    panels = _HEAD + _BAND * len(bands)
    rows = max(len(explanation.candidates), len(explanation.neighbours))
    canvas = Canvas(_WIDTH, panels + max(_CURVE, _TITLE + _ROW * rows + 8))
    _draw_head(canvas, explanation)
    heated = heat_over_frames(explanation.frames, explanation.attention.heat)
    for number, band in enumerate(bands):
        _draw_band(canvas, _HEAD + number * _BAND, explanation, heated, band)
    _draw_candidates(canvas, _MARGIN, panels, explanation)
    _draw_curve(canvas, _MARGIN + _PANEL + _PANEL_GAP, panels, explanation)
    _draw_neighbours(canvas, _MARGIN + 2 * (_PANEL + _PANEL_GAP), panels, explanation)
    buffer = BytesIO()
    canvas.image.save(buffer, "PNG")
    return buffer.getvalue()


def _draw_head(canvas: Canvas, explanation: Explanation) -> None:
    candidate = next(each for each in explanation.candidates if each.name == explanation.name)
    number, clips = explanation.clip
    about = [f"{'/'.join(explanation.path.parts[-2:])}", f"clip {number + 1} of {clips}"]
    if clips > 1:
        about[1] += f", {candidate.clip_probability:.1%} by itself"
    predicted = explanation.candidates[0]
    if predicted.name != explanation.name:
        about.append(f"predicted: {predicted.name}, {predicted.probability:.1%}")
    canvas.text(_MARGIN, 42, f"{candidate.probability:.1%}  {explanation.name}", size=28, width=_WIDTH - 2 * _MARGIN)
    canvas.text(_MARGIN, 74, "   |   ".join(about), size=14, colour=SOFT, width=_WIDTH - 2 * _MARGIN)
    canvas.text(_MARGIN, 96, explanation.warning, size=13, colour=_LOST, width=_WIDTH - 2 * _MARGIN)


def _draw_band(canvas: Canvas, top: float, explanation: Explanation, heated: Tensor, band: Sequence[int]) -> None:
    """A row of frames: what they show, where their cls tokens look, at what, and what hiding each would do."""
    attention, hiding = explanation.attention, explanation.hiding
    frames_top = top + 24
    heat_top = frames_top + _SIDE + 6
    shares_top = heat_top + _SIDE + 14
    hiding_top = shares_top + _SHARES + 22
    _label(canvas, frames_top, "The frames", "as the model sees them")
    _label(canvas, heat_top, "Where each looks", "attention of its cls", "token, last block")
    _draw_heat_scale(canvas, heat_top + 86, float(attention.heat.max()))
    _label(canvas, shares_top, "At what it looks")
    for row, kind in enumerate(attention.weights):
        name, colour = KINDS[kind]
        canvas.box(_MARGIN, shares_top + 24 + 17 * row, 10, 10, colour)
        canvas.text(_MARGIN + 17, shares_top + 29 + 17 * row, name, size=12, colour=SOFT)
    _label(canvas, hiding_top, "When it is hidden", "probability of the", "name; line: with", "nothing hidden")
    for column, t in enumerate(band):
        x = _MARGIN + _LABELS + column * (_SIDE + _GAP)
        number = f"frame {explanation.frame_numbers[t]}"
        canvas.text(x + _SIDE / 2, top + 11, number, size=12, colour=SOFT, align="middle")
        canvas.picture(x, frames_top, _SIDE, explanation.frames[t])
        canvas.picture(x, heat_top, _SIDE, heated[t])
        _draw_shares(canvas, x, shares_top, {kind: float(share[t]) for kind, share in attention.shares.items()})
        _draw_hidden(canvas, x, hiding_top, hiding.curve[0], hiding.one_hidden[t])


def _draw_shares(canvas: Canvas, x: float, top: float, shares: Mapping[str, float]) -> None:
    """A column of all the attention, cut into what it goes to."""
    y = top
    for kind, share in shares.items():
        height = _SHARES * share
        canvas.box(x, y, _SIDE, height, KINDS[kind][1])
        if height >= 14:
            canvas.text(x + _SIDE / 2, y + height / 2, f"{share:.0%}", size=12, colour=PAPER, align="middle")
        y += height


def _draw_hidden(canvas: Canvas, x: float, top: float, whole: float, left: float) -> None:
    """A column of what is left of the name's probability, and of what is lost, with a line at the whole."""
    bottom = top + _HIDING
    canvas.box(x, top, _SIDE, _HIDING, _EMPTY)
    canvas.box(x, bottom - _HIDING * left, _SIDE, _HIDING * left, _KEPT)
    canvas.box(x, bottom - _HIDING * whole, _SIDE, _HIDING * (whole - left), _LOST)
    canvas.line([(x, bottom - _HIDING * whole), (x + _SIDE - 1, bottom - _HIDING * whole)], INK)
    points = round(100 * (left - whole), 1) + 0  # no minus zero
    canvas.text(x + _SIDE / 2, bottom + 13, f"{left:.1%}", size=12, align="middle")
    canvas.text(x + _SIDE / 2, bottom + 29, f"{points:+.1f} points", size=11, colour=SOFT, align="middle")


def _label(canvas: Canvas, top: float, title: str, *notes: str) -> None:
    canvas.text(_MARGIN, top + 8, title, size=14)
    for row, note in enumerate(notes):
        canvas.text(_MARGIN, top + 27 + 15 * row, note, size=12, colour=SOFT)


def _draw_heat_scale(canvas: Canvas, top: float, highest: float) -> None:
    steps = 52
    colours = (255 * ramp(torch.linspace(0, 1, steps)[None, None])[0, :, 0]).to(torch.uint8).T.tolist()
    for step, (red, green, blue) in enumerate(colours):
        canvas.box(_MARGIN + 2 * step, top, 2, 10, f"#{red:02x}{green:02x}{blue:02x}")
    canvas.text(_MARGIN, top + 20, "0", size=11, colour=SOFT)
    canvas.text(_MARGIN + 2 * steps, top + 20, f"{highest:.1%} a patch", size=11, colour=SOFT, align="right")


def _draw_candidates(canvas: Canvas, x: float, top: float, explanation: Explanation) -> None:
    _panel_title(canvas, x, top, "The names it considers", "probability from all clips")
    for row, each in enumerate(explanation.candidates):
        colour = _NAMED if each.name == explanation.name else _KEPT
        _draw_row(canvas, x, top, row, each.name, f"{each.probability:.1%}", each.probability, colour)


def _draw_neighbours(canvas: Canvas, x: float, top: float, explanation: Explanation) -> None:
    _panel_title(canvas, x, top, "The names that read most like it", "cosine of their texts")
    for row, each in enumerate(explanation.neighbours):
        _draw_row(canvas, x, top, row, each.name, f"{each.cosine:.2f}", max(each.cosine, 0), _KEPT)


def _panel_title(canvas: Canvas, x: float, top: float, title: str, note: str) -> None:
    canvas.text(x, top + 8, title, size=14)
    canvas.text(x, top + 27, note, size=12, colour=SOFT, width=_PANEL)


def _draw_row(canvas: Canvas, x: float, top: float, row: int, name: str, value: str, share: float, colour: str) -> None:
    y = top + _TITLE + _ROW * row
    canvas.text(x, y, name, width=_PANEL - 60)
    canvas.text(x + _PANEL, y, value, align="right")
    canvas.box(x, y + 11, _PANEL, 5, _EMPTY)
    canvas.box(x, y + 11, _PANEL * share, 5, colour)


def _draw_curve(canvas: Canvas, x: float, top: float, explanation: Explanation) -> None:
    """The probability of the name over the number of frames hidden."""
    curve = explanation.hiding.curve
    order = ", ".join(str(explanation.frame_numbers[t]) for t in explanation.hiding.order[:-1])
    _panel_title(canvas, x, top, "When ever more is hidden", f"most important first: {order}")
    left, right, low, high = x + 40, x + _PANEL - 6, top + _CURVE - 62, top + _TITLE
    for share in (0, 0.5, 1):
        y = low + (high - low) * share
        canvas.line([(left, y), (right, y)], FAINT)
        canvas.text(left - 12, y, f"{share:.0%}", size=12, colour=SOFT, align="right")
    step = (right - left) / (len(curve) - 1)
    points = [(left + step * count, low + (high - low) * share) for count, share in enumerate(curve)]
    canvas.line(points, _NAMED, 2)
    for count, point in enumerate(points):
        canvas.dot(*point, 3.5, _NAMED)
        if count % math.ceil(len(curve) / 16) == 0:
            canvas.text(point[0], low + 17, str(count), size=12, colour=SOFT, align="middle")
    canvas.text((left + right) / 2, low + 37, "frames hidden", size=12, colour=SOFT, align="middle")
