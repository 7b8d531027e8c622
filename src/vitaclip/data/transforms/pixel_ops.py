"""The image operations of RandAugment on whole clips, with Pillow's definitions.

Axes: T frames, H x W pixels. Every clip is uint8 (T, 3, H, W) and stays so; statistics (histogram, mean) are
those of each frame by itself, as Pillow would take them. Where values become floats, frames are worked on one after
the other, so that what is in between stays in the processor's cache; a warp takes all frames at once, since they
share its weights.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Colour = tuple[int, int, int]
Arguments = ParamSpec("Arguments")

# Weights of red, green and blue in Pillow's grey, and their sum.
_RED, _GREEN, _BLUE, _UNIT = 19595, 38470, 7471, 65536


def _frame_by_frame(
    operation: Callable[Concatenate[Tensor, Arguments], Tensor],
) -> Callable[Concatenate[Tensor, Arguments], Tensor]:
    """An operation on a frame (3, H, W) as one on a clip (T, 3, H, W)."""

    @wraps(operation)
    def on_clip(clip: Tensor, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensor:
        return torch.stack([operation(frame, *args, **kwargs) for frame in clip.contiguous()])

    return on_clip


def auto_contrast(clip: Tensor) -> Tensor:
    """Stretches every colour of every frame so that its darkest value is 0 and its brightest 255."""
    low = clip.amin((-2, -1)).double().view(-1, 1)
    high = clip.amax((-2, -1)).double().view(-1, 1)
    values = torch.arange(256, dtype=torch.float64).unsqueeze(0)
    scale = 255 / (high - low).clamp(min=1)
    table = (values * scale - low * scale).clamp(0, 255)
    return _look_up(clip, torch.where(high > low, table, values))


def equalize(clip: Tensor) -> Tensor:
    """Makes the histogram of every colour of every frame flat."""
    planes = clip.contiguous().flatten(2).flatten(0, 1)  # (T*3, H*W)
    histogram = torch.stack([torch.bincount(plane, minlength=256) for plane in planes])
    brightest = planes.amax(1).long().unsqueeze(1)
    step = (planes.shape[1] - histogram.gather(1, brightest)) // 255  # pixels per grey level of the result
    below = histogram.cumsum(1) - histogram
    table = (step // 2 + below) // step.clamp(min=1)
    return _look_up(clip, torch.where(step > 0, table.clamp(max=255), torch.arange(256)))


def invert(clip: Tensor) -> Tensor:
    """255 - value."""
    return 255 - clip


def posterize(clip: Tensor, bits: int) -> Tensor:
    """Keeps the highest `bits` (0 to 8) of every value."""
    return clip & (256 - (1 << (8 - bits)))


def solarize(clip: Tensor, threshold: int) -> Tensor:
    """Inverts the values from `threshold` (0 to 256) on."""
    if threshold > 255:
        return clip
    # NumPy compares bytes several times faster than torch does. -1 in a byte has all bits set: xor inverts.
    values = clip.numpy()
    return torch.from_numpy(values ^ -(values >= threshold).view(np.uint8))


def solarize_add(clip: Tensor, addition: int) -> Tensor:
    """Adds `addition` (0 to 127) to the values below 128."""
    values = clip.numpy()
    return torch.from_numpy(values + (values < 128).view(np.uint8) * np.uint8(addition))


@_frame_by_frame
def color(frame: Tensor, factor: float) -> Tensor:
    """0 = grey, 1 = as it is, more = stronger colours."""
    values = frame.float()
    return _blend(_grey(values), values, factor)


@_frame_by_frame
def contrast(frame: Tensor, factor: float) -> Tensor:
    """0 = the frame's mean grey, 1 = as it is, more = stronger contrast."""
    values = frame.float()
    return _blend((_grey(values).mean(dtype=torch.float64) + 0.5).floor().float(), values, factor)


@_frame_by_frame
def brightness(frame: Tensor, factor: float) -> Tensor:
    """0 = black, 1 = as it is, more = brighter."""
    return frame.float().mul_(factor).clamp_(0, 255).to(torch.uint8)


@_frame_by_frame
def sharpness(frame: Tensor, factor: float) -> Tensor:
    """0 = smoothed, 1 = as it is, more = sharpened. The outermost pixels stay as they are."""
    if min(frame.shape[1:]) < 3:
        return frame
    values = frame.float()
    rows = values[:, :-2] + values[:, 1:-1] + values[:, 2:]
    smooth = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inner = values[:, 1:-1, 1:-1]
    smooth.add_(inner, alpha=4).mul_(1 / 13).add_(0.5).floor_()  # Pillow's SMOOTH kernel: ones around a five
    inner.sub_(smooth).mul_(factor).add_(smooth)
    return values.clamp_(0, 255).to(torch.uint8)


def rotate(clip: Tensor, degrees: float, fill: Colour) -> Tensor:
    """Turns counter-clockwise about the centre; the size stays."""
    height, width = clip.shape[-2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    return _affine(clip, (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y), fill)


def shear_x(clip: Tensor, factor: float, fill: Colour) -> Tensor:
    """Pixel (x, y) comes from (x + factor * y, y)."""
    return _affine(clip, (1, factor, 0, 0, 1, 0), fill)


def shear_y(clip: Tensor, factor: float, fill: Colour) -> Tensor:
    """Pixel (x, y) comes from (x, y + factor * x)."""
    return _affine(clip, (1, 0, 0, factor, 1, 0), fill)


def translate_x(clip: Tensor, share: float, fill: Colour) -> Tensor:
    """Pixel (x, y) comes from (x + share * W, y)."""
    return _affine(clip, (1, 0, share * clip.shape[-1], 0, 1, 0), fill)


def translate_y(clip: Tensor, share: float, fill: Colour) -> Tensor:
    """Pixel (x, y) comes from (x, y + share * H)."""
    return _affine(clip, (1, 0, 0, 0, 1, share * clip.shape[-2]), fill)


def _affine(clip: Tensor, matrix: tuple[float, ...], fill: Colour) -> Tensor:
    """Bicubic warp: the result at (x, y) is the clip at (a x + b y + c, d x + e y + f), or `fill` outside.

    The middle of the first pixel is (0.5, 0.5), and beyond the edge its pixels repeat, as Pillow has it.
    """
    frames, _, height, width = clip.shape
    a, b, c, d, e, f = matrix
    x = torch.arange(width, dtype=torch.float64) + 0.5
    y = (torch.arange(height, dtype=torch.float64) + 0.5).unsqueeze(1)
    source_x, source_y = a * x + b * y + c, d * x + e * y + f
    columns, column_weights = _cubic_taps(source_x, width)
    rows, row_weights = _cubic_taps(source_y, height)
    # Each pixel is a weighted sum of up to 16: rows of a table with one column for each colour of each frame.
    places = (rows.unsqueeze(-1) * width + columns.unsqueeze(-2)).flatten(0, 1).flatten(1)
    weights = (row_weights.unsqueeze(-1) * column_weights.unsqueeze(-2)).flatten(0, 1).flatten(1)
    table = clip.reshape(frames * 3, height * width).t().contiguous().float()  # the fused sum wants whole rows
    warped = F.embedding_bag(places, table, per_sample_weights=weights, mode="sum")
    warped = warped.clamp_(0, 255).to(torch.uint8).t().contiguous().view(clip.shape)
    inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)
    return torch.where(inside, warped, torch.tensor(fill, dtype=torch.uint8).view(3, 1, 1))


def _cubic_taps(source: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The pixels of 0..size-1 around each place along one axis, and their weights: (H, W) -> (H, W, up to 4) twice.

    The kernel is the cubic convolution with a = -1 that Pillow warps with; `grid_sample` has a = -0.75. Taps that
    weigh nothing anywhere are left out: a shear or shift along one axis needs but one along the other.
    """
    first = (source - 0.5).floor()
    t = (source - 0.5 - first).float()
    weights = torch.stack([-t + 2 * t**2 - t**3, 1 - 2 * t**2 + t**3, t + t**2 - t**3, t**3 - t**2], dim=-1)
    pixels = (first.int().unsqueeze(-1) + torch.arange(-1, 3, dtype=torch.int32)).clamp_(0, size - 1)
    used = weights.flatten(0, -2).any(dim=0)
    return pixels[..., used], weights[..., used]


def _grey(values: Tensor) -> Tensor:
    """Pillow's luma of a float32 frame (3, H, W): whole numbers (H, W) in 0..255, exact (all sums are below 2**24)."""
    red, green, blue = values
    weighted = (red * _RED).add_(green, alpha=_GREEN).add_(blue, alpha=_BLUE)
    return weighted.add_(_UNIT / 2).mul_(1 / _UNIT).floor_()


def _blend(plain: Tensor, values: Tensor, factor: float) -> Tensor:
    """`plain + factor * (values - plain)`, cut off at 0 and 255 and rounded down like Pillow's Image.blend."""
    return values.sub_(plain).mul_(factor).add_(plain).clamp_(0, 255).to(torch.uint8)


def _look_up(clip: Tensor, table: Tensor) -> Tensor:
    """Replaces the values of each colour plane by its own row of `table`, (T*3, 256)."""
    planes = clip.contiguous().flatten(0, 1).numpy()
    replaced = np.empty_like(planes)
    for plane, row, result in zip(planes, table.to(torch.uint8).numpy(), replaced, strict=True):
        np.take(row, plane, out=result, mode="wrap")  # "wrap" spares the check of a byte's range
    return torch.from_numpy(replaced).view(clip.shape)
