"""What the pages of this package share: style, filters, pictures and tables of shares.

A page is one HTML file: nothing is loaded from anywhere.
"""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vitaclip.evaluate.report.charts import format_percent

HEAT_LEVELS = 11
_LARGEST_PICTURE_SIDE = 96
# Flat shapes on a soft texture lose nothing visible to 64 colours, and the page a third of its size.
_PICTURE_COLOURS = 64
_JPEG_QUALITY = 78


@dataclass(frozen=True)
class HeatCell:
    """A cell of a confusion table."""

    text: str
    level: int
    """0 (no video of the row) to `HEAT_LEVELS` - 1 (all of them)."""
    right: bool
    """Whether the chosen class is the true one."""


def page_environment(package: str) -> Environment:
    """Templates of a package, with the shared `style.css` to include and the filters `percent`, `css_percent`
    and `counted`."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader("vitaclip.evaluate.report", "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = format_percent
    environment.filters["counted"] = _counted
    environment.filters["css_percent"] = _css_percent
    return environment


def frame_to_png_uri(frame: Tensor | NDArray[np.uint8]) -> str:
    """A frame as a data URI: a PNG of at most 64 colours and at most 96 pixels a side.

    Args:
        frame: (3, H, W), uint8.

    Raises:
        ValueError: another shape or type.
    """
    image = _to_image(frame)
    image.thumbnail((_LARGEST_PICTURE_SIDE, _LARGEST_PICTURE_SIDE))
    return _png_uri(image.quantize(_PICTURE_COLOURS, dither=Image.Dither.NONE))


def frame_to_jpeg_uri(frame: Tensor | NDArray[np.uint8]) -> str:
    """A frame (3, H, W), uint8, as a data URI: a JPEG of its own size.

    Raises:
        ValueError: another shape or type.
    """
    buffer = io.BytesIO()
    _to_image(frame).save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def shares_to_png_uri(shares: NDArray[np.float64]) -> str:
    """A matrix of shares in [0, 1] as a data URI: a picture of a pixel a cell, from clear to blue."""
    strength = np.sqrt(shares)  # so that one video of fifty can be seen
    pixels = np.empty((*shares.shape, 4), dtype=np.uint8)
    pixels[..., :3] = (60, 125, 215)
    pixels[..., 3] = np.round(255 * strength)
    return _png_uri(Image.fromarray(pixels))


def _to_image(frame: Tensor | NDArray[np.uint8]) -> Image.Image:
    pixels = frame.detach().cpu().numpy() if isinstance(frame, Tensor) else frame
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ValueError(f"frame: {pixels.dtype} {tuple(pixels.shape)} is no picture: pass uint8 of shape (3, H, W)")
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _png_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def heat_table(counts: Sequence[Sequence[int]]) -> list[list[HeatCell]]:
    """Counts (true, chosen) of classes -> cells in per cent of their row; dashes for a row without videos."""
    rows = []
    for true, row in enumerate(counts):
        total = sum(row)
        shares = [count / total if total else 0.0 for count in row]
        rows.append(
            [
                HeatCell(
                    text=f"{100 * share:.0f}" if total else "\u2013",
                    level=round(share * (HEAT_LEVELS - 1)),
                    right=true == chosen,
                )
                for chosen, share in enumerate(shares)
            ]
        )
    return rows


def _counted(count: int, one: str, more: str = "") -> str:
    """1 -> "1 video", 1200 -> "1,200 videos"."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def _css_percent(share: float) -> str:
    """A share as a length for a style attribute, kept in 0 to 100 %."""
    return f"{100 * min(max(share, 0.0), 1.0):.1f}%" if math.isfinite(share) else "0%"
