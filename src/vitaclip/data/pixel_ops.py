"""The image operations of RandAugment on whole clips, with Pillow's definitions.

Axes: T frames, H x W pixels. Every clip is uint8 (T, 3, H, W) and stays so; statistics (histogram, mean) are
those of each frame by itself, as Pillow would take them.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Colour = tuple[int, int, int]

# Weights of red, green and blue in Pillow's grey, in 1/65536.
_GREY_WEIGHTS = (19595, 38470, 7471)
_GREY_SHIFT = 16


def auto_contrast(clip: Tensor) -> Tensor:
    """Stretches every colour of every frame so that its darkest value is 0 and its brightest 255."""
    low = clip.amin((-2, -1)).flatten().double().unsqueeze(1)
    high = clip.amax((-2, -1)).flatten().double().unsqueeze(1)
    values = torch.arange(256, dtype=torch.float64).unsqueeze(0)
    scale = 255 / (high - low).clamp(min=1)
    table = (values * scale - low * scale).clamp(0, 255)
    return _look_up(clip, torch.where(high > low, table, values))


def equalize(clip: Tensor) -> Tensor:
    """Makes the histogram of every colour of every frame flat."""
    planes = clip.flatten(2).flatten(0, 1).long()  # (T*3, H*W)
    offsets = torch.arange(len(planes)).unsqueeze(1) * 256
    histogram = torch.bincount((planes + offsets).flatten(), minlength=256 * len(planes)).view(-1, 256)
    brightest = clip.amax((-2, -1)).flatten().long().unsqueeze(1)
    step = (planes.shape[1] - histogram.gather(1, brightest)) // 255  # pixels per grey level of the result
    below = histogram.cumsum(1) - histogram
    table = (step // 2 + below) // step.clamp(min=1)
    table = torch.where(step > 0, table.clamp(max=255), torch.arange(256))
    return _look_up(clip, table)


def invert(clip: Tensor) -> Tensor:
    """255 - value."""
    return 255 - clip


def posterize(clip: Tensor, bits: int) -> Tensor:
    """Keeps the highest `bits` (0 to 8) of every value."""
    return clip & (256 - (1 << (8 - bits)))


def solarize(clip: Tensor, threshold: int) -> Tensor:
    """Inverts the values from `threshold` (0 to 256) on."""
    return torch.where(clip.short() >= threshold, 255 - clip, clip)


def solarize_add(clip: Tensor, addition: int) -> Tensor:
    """Adds `addition` to the values below 128."""
    return torch.where(clip < 128, (clip.short() + addition).clamp(0, 255).to(torch.uint8), clip)


def color(clip: Tensor, factor: float) -> Tensor:
    """0 = grey, 1 = as it is, more = stronger colours."""
    return _blend(_grey(clip).float(), clip, factor)


def contrast(clip: Tensor, factor: float) -> Tensor:
    """0 = the frame's mean grey, 1 = as it is, more = stronger contrast."""
    mean = (_grey(clip).double().mean((-3, -2, -1), keepdim=True) + 0.5).floor()
    return _blend(mean.float(), clip, factor)


def brightness(clip: Tensor, factor: float) -> Tensor:
    """0 = black, 1 = as it is, more = brighter."""
    return _blend(torch.zeros(()), clip, factor)


def sharpness(clip: Tensor, factor: float) -> Tensor:
    """0 = smoothed, 1 = as it is, more = sharpened. The outermost pixels stay as they are."""
    smooth = clip.float()
    if min(clip.shape[-2:]) > 2:
        inner = smooth[..., 1:-1, 1:-1]
        total = F.avg_pool2d(smooth, 3, stride=1, divisor_override=1)
        smoothed = ((total + 4 * inner) / 13 + 0.5).floor()  # Pillow's SMOOTH kernel: ones around a five
        smooth[..., 1:-1, 1:-1] = smoothed
    return _blend(smooth, clip, factor)


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


def _grey(clip: Tensor) -> Tensor:
    """Pillow's luma, int32 (T, 1, H, W) in 0..255."""
    red, green, blue = (clip[:, colour].int() * weight for colour, weight in enumerate(_GREY_WEIGHTS))
    return ((red + green + blue + (1 << (_GREY_SHIFT - 1))) >> _GREY_SHIFT).unsqueeze(1)


def _blend(plain: Tensor, clip: Tensor, factor: float) -> Tensor:
    """`plain + factor * (clip - plain)`, cut off at 0 and 255 and rounded down like Pillow's Image.blend."""
    return (plain + factor * (clip - plain)).clamp_(0, 255).to(torch.uint8)


def _look_up(clip: Tensor, table: Tensor) -> Tensor:
    """Replaces the values of each colour plane by its own row of `table`, (T*3, 256)."""
    planes = clip.flatten(2).flatten(0, 1).long()
    return table.to(torch.uint8).gather(1, planes).view(clip.shape)
