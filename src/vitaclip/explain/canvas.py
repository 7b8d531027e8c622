"""Drawing with Pillow: marks and text in units of a page, and heat over frames.

Axes: T frames, H x W pixels of a frame, S x S pixels as drawn.
"""

from contextlib import suppress
from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

INK, SOFT, FAINT, PAPER = "#1d2430", "#5f6b7a", "#d9dee5", "#ffffff"
_PIXELS_PER_UNIT = 2

_RAMP = torch.tensor([(20, 22, 40), (110, 40, 70), (215, 85, 30), (250, 170, 40), (255, 240, 150)]) / 255
"""RGB of no attention up to the most, evenly spaced; brightness rises all the way, so it reads without colours."""
_GREY = (0.299, 0.587, 0.114)
"""How bright R, G and B are to the eye."""

_WIDER_FONTS = ("NotoSans-Regular.ttf", "DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf")


class Canvas:
    """A white page that takes marks at (x, y) from its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.image = Image.new("RGB", (_pixels(width), _pixels(height)), PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 13,
        colour: str = INK,
        align: Literal["left", "middle", "right"] = "left",
        width: float | None = None,
    ) -> None:
        """A line of text around the height y; cut with an ellipsis if it would be wider than `width`."""
        font = _font(_pixels(size), text.isascii())
        if width is not None and font.getlength(text) > _pixels(width):
            while text and font.getlength(text + "…") > _pixels(width):
                text = text[:-1]
            text += "…"
        anchor = {"left": "lm", "middle": "mm", "right": "rm"}[align]
        self._draw.text((_pixels(x), _pixels(y)), text, fill=colour, font=font, anchor=anchor)

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled box from (x, y) to the right and down; nothing where it is thinner than a pixel."""
        left, top, right, bottom = map(_pixels, (x, y, x + width, y + height))
        if right > left and bottom > top:
            self._draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)

    def line(self, points: list[tuple[float, float]], colour: str, width: float = 1) -> None:
        """A line through points."""
        self._draw.line([(_pixels(x), _pixels(y)) for x, y in points], colour, _pixels(width), joint="curve")

    def dot(self, x: float, y: float, radius: float, colour: str) -> None:
        """A filled circle."""
        self._draw.ellipse([_pixels(v) for v in (x - radius, y - radius, x + radius, y + radius)], fill=colour)

    def picture(self, x: float, y: float, side: float, pixels: Tensor) -> None:
        """A square picture, uint8 (3, H, W)."""
        picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
        self.image.paste(
            picture.resize((_pixels(side), _pixels(side)), Image.Resampling.BICUBIC), (_pixels(x), _pixels(y))
        )


def heat_over_frames(frames: Tensor, heat: Tensor, side: int = 256) -> Tensor:
    """Frames in grey, coloured by heat: the brightest colour is the most attended patch of the whole clip.

    Args:
        frames: uint8 (T, 3, H, W).
        heat: (T, rows, columns), at least 0.
        side: S.

    Returns:
        uint8 (T, 3, S, S).
    """
    size = (side, side)
    pixels = F.interpolate(frames.float() / 255, size, mode="bicubic", antialias=True).clamp(0, 1)
    strength = F.interpolate((heat / heat.max())[:, None], size, mode="bilinear")[:, 0]
    grey = torch.einsum("tchw,c->thw", pixels, torch.tensor(_GREY))[:, None]
    return (255 * (0.45 * grey + 0.75 * ramp(strength))).clamp(0, 255).to(torch.uint8)


def ramp(strength: Tensor) -> Tensor:
    """The colours (T, 3, H, W), RGB in [0, 1], of strengths (T, H, W) in [0, 1]."""
    place = strength * (len(_RAMP) - 1)
    below = place.long().clamp(max=len(_RAMP) - 2)
    return torch.lerp(_RAMP[below], _RAMP[below + 1], (place - below)[..., None]).permute(0, 3, 1, 2)


@cache
def _font(pixels: int, ascii_only: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, the same everywhere; it has little beyond ASCII, for which the system may have another."""
    for name in () if ascii_only else _WIDER_FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, pixels)
    return ImageFont.load_default(pixels)


def _pixels(units: float) -> int:
    return round(units * _PIXELS_PER_UNIT)
