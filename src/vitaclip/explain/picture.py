"""An explanation as one picture: the clip's frames from left to right, and below each what the model made of it.

Axes: T frames, H x W pixels of a frame, S x S pixels as drawn.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from vitaclip.explain.explanation import Explanation, label_and_color
from vitaclip.figures import ACCENT, INK, RULE, SOFT, bars, drawing, fraction_axis, shorten, to_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FRAMES_PER_ROW = 8
COLORMAP = "inferno"
"""Its brightness rises all the way, so that it can be read without colours."""
_LUMA = (0.299, 0.587, 0.114)
_WIDTH, _HEAD, _ROW_HEIGHTS, _PANELS = 13.8, 1.5, (1.55, 1.5, 1.1, 0.95), 3.4
"""Inches. The heights are of frames, attention, attention mass and occlusion, with their labels."""
_COLUMN = 0.97
"""The part of a frame's column that is not gap."""
_KEPT, _LOST = "#8fa2ba", "#c2394b"


def overlay_heat(frames: Tensor, heat: Tensor, side: int = 224) -> Tensor:
    """Grey frames, uint8 (T, 3, H, W), coloured by heat (T, rows, columns): uint8 (T, 3, S, S) with S = `side`. The
    brightest colour is the highest value of the whole clip, or four times its mean, if that is more: even attention
    stays dark, so that the frames can be seen."""
    from matplotlib import colormaps

    size = (side, side)
    pixels = F.interpolate(frames.float() / 255, size, mode="bicubic", antialias=True).clamp(0, 1)
    brightest = torch.maximum(heat.max(), 4 * heat.mean())
    strength = F.interpolate((heat.float() / brightest)[:, None], size, mode="bilinear")[:, 0]
    colours = torch.from_numpy(colormaps[COLORMAP](strength.numpy())[..., :3]).float().permute(0, 3, 1, 2)
    grey = torch.einsum("tchw,c->thw", pixels, torch.tensor(_LUMA))[:, None]
    return (255 * (0.45 * grey + 0.75 * colours)).clamp(0, 255).to(torch.uint8)


def draw_explanation(explanation: Explanation) -> bytes:
    """The picture as PNG. A clip of more than 8 frames goes on in further rows.

    >>> picture = draw_explanation(explain_video(predictor, "video.mp4"))  # doctest: +SKIP
    """
    frames = range(len(explanation.frames))
    rows = [frames[start : start + FRAMES_PER_ROW] for start in range(0, len(frames), FRAMES_PER_ROW)]
    overlays = overlay_heat(explanation.frames, explanation.attention.heat)
    title, about = _titles(explanation)
    heights = [_HEAD + sum(_ROW_HEIGHTS) * len(rows), _PANELS]
    with drawing(_WIDTH, sum(heights)) as figure:
        figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.06)
        top, bottom = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
        figure.suptitle(title, size=21, x=0.02, ha="left")
        top.suptitle(about, size=11, x=0.02, ha="left", color=SOFT)
        grid = top.subplots(4 * len(rows), 1, height_ratios=_ROW_HEIGHTS * len(rows))
        for number, row in enumerate(rows):
            of_frames, of_attention, of_mass, of_occlusion = grid[4 * number : 4 * number + 4]
            _draw_frames(of_frames, explanation.frames[list(row)], "Frames\nthe model's input")
            _draw_frames(of_attention, overlays[list(row)], _about_attention(explanation))
            _label_columns(of_frames, [f"frame {explanation.frame_numbers[t]}" for t in row])
            of_frames.xaxis.tick_top()
            _draw_mass(of_mass, explanation, row)
            _draw_occlusion(of_occlusion, explanation, row)
        _draw_panels(bottom.subplots(1, 3), explanation)
        return to_png(figure)


def _titles(explanation: Explanation) -> tuple[str, str]:
    """The name with its probability; below it the clip, the predicted name if it is another, and the warning."""
    candidate = next(each for each in explanation.candidates if each.name == explanation.name)
    number, clips = explanation.clip
    about = ["/".join(explanation.path.parts[-2:]), f"clip {number + 1} of {clips}"]
    if clips > 1:
        about[1] += f", {candidate.clip_probability:.1%} alone"
    predicted = explanation.candidates[0]
    if predicted.name != explanation.name:
        about.append(f"predicted: {shorten(predicted.name, 40)}, {predicted.probability:.1%}")
    warning = f"\n{explanation.warning}" if explanation.warning else ""
    return f"{candidate.probability:.1%}  {shorten(explanation.name, 60)}", "   |   ".join(about) + warning


def _about_attention(explanation: Explanation) -> str:
    return f"Attention\n{explanation.attention.of}; brightest:\n{explanation.attention.heat.max():.1%} on a patch"


def _label_columns(axes: "Axes", labels: Sequence[str] = (), beside: str = "") -> None:
    """A column for each frame, from 0 to 100 %, with labels below, and a text to the left; no frame around it."""
    axes.set(xlim=(0, FRAMES_PER_ROW), ylim=(0, 1), yticks=[])
    axes.set_xticks([column + _COLUMN / 2 for column in range(len(labels))], labels)
    axes.tick_params(length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    if beside:
        axes.set_ylabel(beside, rotation=0, ha="right", va="top", y=1, size=9, linespacing=1.4)


def _draw_frames(axes: "Axes", images: Tensor, beside: str) -> None:
    for column, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        axes.imshow(image, extent=(column, column + _COLUMN, 0, 1), aspect="auto")
    _label_columns(axes, beside=beside)


def _draw_mass(axes: "Axes", explanation: Explanation, row: Sequence[int]) -> None:
    """A column for all the attention that falls to a frame, divided by the kind of token that it goes to. The frame
    with most of it has the highest."""
    masses = explanation.attention.mass
    most = torch.stack([*masses.values()]).double().sum(dim=0).max()
    top = torch.ones(len(row), dtype=torch.float64)
    for kind, mass in masses.items():
        (label, color), part = label_and_color(kind), mass[list(row)].double()
        top = top - part / most
        drawn = axes.bar(range(len(row)), part / most, _COLUMN, top, align="edge", color=color, label=label)
        told = [f"{value:.0%}" if value >= 0.13 * most else "" for value in part]
        axes.bar_label(drawn, told, label_type="center", color="white", size=9)
    _label_columns(axes)
    legend = axes.legend(loc="upper right", bbox_to_anchor=(-0.002, 1.1), title="Attention mass", fontsize=9)
    legend.get_title().set_fontsize(9)


def _draw_occlusion(axes: "Axes", explanation: Explanation, row: Sequence[int]) -> None:
    """What is left of the name's probability without a frame, and what is lost, with a line at the whole."""
    whole, single = explanation.occlusion.curve[0], explanation.occlusion.single[row[0] : row[-1] + 1]
    columns, lost = range(len(single)), [max(whole - left, 0) for left in single]
    axes.bar(columns, 1, _COLUMN, align="edge", color=RULE, alpha=0.5)
    axes.bar(columns, single, _COLUMN, align="edge", color=_KEPT)
    axes.bar(columns, lost, _COLUMN, single, align="edge", color=_LOST)
    axes.hlines(whole, 0, len(single), color=INK, linewidth=1)
    points = [round(100 * (left - whole), 1) + 0 for left in single]  # no minus zero
    told = [f"{left:.1%}\n{point:+.1f} points" for left, point in zip(single, points, strict=True)]
    _label_columns(axes, told, "Occlusion\nthe name's probability\nwithout the frame; line:\nnothing occluded")


def _draw_panels(panels: "Sequence[Axes]", explanation: Explanation) -> None:
    """The candidates, the probability as more and more frames are occluded, and the nearest names."""
    (left, middle, right), candidates = panels, explanation.candidates
    colours = [ACCENT if each.name == explanation.name else _KEPT for each in candidates]
    bars(left, [shorten(each.name) for each in candidates], [each.probability for each in candidates], colours)
    left.set_title("Candidates: probability from all clips")

    curve, occlusion = explanation.occlusion.curve, explanation.occlusion
    order = ", ".join(str(explanation.frame_numbers[t]) for t in occlusion.order[:-1])
    middle.plot(range(len(curve)), curve, color=ACCENT, linewidth=2, marker="o", clip_on=False)
    middle.set_xticks(range(0, len(curve), -(-len(curve) // 16)))
    middle.set_title("Occluding more and more frames")
    middle.set_xlabel(f"frames occluded, in this order: {shorten(order, 40)}")
    fraction_axis(middle)

    near = explanation.neighbours
    bars(right, [shorten(each.name) for each in near], [each.cosine for each in near], _KEPT, "{:.2f}")
    right.set_title("Nearest names: cosine of the texts")
