"""RandAugment for clips: one draw of operations and strengths serves all frames of a clip.

Source: Cubuk et al., RandAugment, 2019. The setting strings, the set of operations, the probability and the
strengths are those of timm, which the published recipe names (`rand-m7-n4-mstd0.5-inc1`).

Axes: T frames, H x W pixels; a clip is uint8 (T, 3, H, W).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from vitaclip.config import require
from vitaclip.data import pixel_ops
from vitaclip.data.pixel_ops import Colour

GREY: Colour = (128, 128, 128)

_MAX_MAGNITUDE = 10.0
_APPLY_PROBABILITY = 0.5
_MAX_DEGREES, _MAX_SHEAR, _MAX_SHIFT = 30.0, 0.3, 0.45
_EXAMPLE = "write it like rand-m7-n4-mstd0.5-inc1"


@dataclass(frozen=True)
class RandAugment:
    """Random image operations, the same ones for all frames of a clip. See `parse_randaugment`."""

    magnitude: float = 10.0
    """Mean strength, 0 to 10."""
    num_layers: int = 2
    """Operations drawn per clip (with replacement); each is then applied with probability 0.5."""
    magnitude_std: float = 0.0
    """Standard deviation of the strength, drawn anew for each operation; the result is cut to 0..10."""
    increasing: bool = False
    """Strengths of all operations grow with the magnitude (for some the classic set has it the other way)."""
    fill: Colour = GREY
    """Red, green, blue (0 to 255) of the places that a turn, shear or shift leaves empty."""

    def __post_init__(self) -> None:
        require(0 <= self.magnitude <= _MAX_MAGNITUDE, self, "magnitude", "must lie in 0..10")
        require(self.num_layers >= 1, self, "num_layers", "must be at least 1")
        require(0 <= self.magnitude_std <= _MAX_MAGNITUDE, self, "magnitude_std", "must lie in 0..10")
        fill_is_colour = len(self.fill) == 3 and all(0 <= value <= 255 for value in self.fill)
        require(fill_is_colour, self, "fill", "give red, green and blue, each in 0..255")

    def __call__(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        """Draws once and applies the draw to all frames.

        Args:
            clip: uint8 (T, 3, H, W).
            rng: source of every draw.

        Returns:
            uint8 (T, 3, H, W).
        """
        for number in rng.integers(len(OPERATIONS), size=self.num_layers):
            operation = OPERATIONS[number]
            # The same draws are made whether or not the operation is applied.
            applied = rng.random() < _APPLY_PROBABILITY
            drawn = rng.normal(self.magnitude, self.magnitude_std)
            sign = 1 if rng.random() < 0.5 else -1
            if applied:
                level = float(np.clip(drawn, 0, _MAX_MAGNITUDE)) / _MAX_MAGNITUDE
                clip = operation(clip, level, sign, self)
        return clip


def parse_randaugment(text: str, fill: Colour = GREY) -> RandAugment:
    """Reads a setting string of timm: `rand` and parts joined by `-`, in any order.

    `m7` magnitude (0-10), `n4` operations per clip, `mstd0.5` standard deviation of the magnitude, `inc1` or
    `inc0` increasing strengths on or off.

    Raises:
        ValueError: a part that is none of these, that is given twice, or out of range; weighted choice
        (`w0`).
    """
    place = f"randaugment = {text!r}"
    head, *parts = text.split("-")
    if head != "rand":
        raise ValueError(f"{place}: must begin with 'rand'; {_EXAMPLE}")
    values: dict[str, str] = {}
    for part in parts:
        match = re.fullmatch(r"(mstd|inc|m|n|w)(\d+(?:\.\d+)?)", part)
        if match is None:
            raise ValueError(f"{place}: part {part!r} is not m, n, mstd or inc with a number; {_EXAMPLE}")
        key, value = match.groups()
        if key == "w":
            raise ValueError(f"{place}: part {part!r} (weighted choice) is not offered; remove it")
        if key in values:
            raise ValueError(f"{place}: part {part!r} gives {key} a second time; remove one")
        if (key == "inc" and value not in ("0", "1")) or (key == "n" and not value.isdigit()):
            allowed = "inc0 or inc1" if key == "inc" else "a whole number of operations"
            raise ValueError(f"{place}: part {part!r} must be {allowed}; {_EXAMPLE}")
        values[key] = value
    try:
        return RandAugment(
            magnitude=float(values.get("m", RandAugment.magnitude)),
            num_layers=int(values.get("n", RandAugment.num_layers)),
            magnitude_std=float(values.get("mstd", RandAugment.magnitude_std)),
            increasing=values.get("inc", "0") == "1",
            fill=fill,
        )
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


# Each takes a clip, a level in 0..1, a sign (+1 or -1) and the settings.
Operation = Callable[[Tensor, float, int, RandAugment], Tensor]


def _plain(function: Callable[[Tensor], Tensor], clip: Tensor, level: float, sign: int, _: RandAugment) -> Tensor:
    return function(clip)


def _enhance(
    function: Callable[[Tensor, float], Tensor], clip: Tensor, level: float, sign: int, settings: RandAugment
) -> Tensor:
    factor = max(0.1, 1 + sign * level * 0.9) if settings.increasing else level * 1.8 + 0.1
    return function(clip, factor)


def _geometric(
    function: Callable[[Tensor, float, Colour], Tensor],
    largest: float,
    clip: Tensor,
    level: float,
    sign: int,
    settings: RandAugment,
) -> Tensor:
    return function(clip, sign * level * largest, settings.fill)


def _posterize(clip: Tensor, level: float, sign: int, settings: RandAugment) -> Tensor:
    bits = int(level * 4)
    return pixel_ops.posterize(clip, 4 - bits if settings.increasing else bits)


def _solarize(clip: Tensor, level: float, sign: int, settings: RandAugment) -> Tensor:
    threshold = int(level * 256)
    return pixel_ops.solarize(clip, 256 - threshold if settings.increasing else threshold)


def _solarize_add(clip: Tensor, level: float, sign: int, settings: RandAugment) -> Tensor:
    return pixel_ops.solarize_add(clip, int(level * 110))


OPERATIONS: tuple[Operation, ...] = (
    partial(_plain, pixel_ops.auto_contrast),
    partial(_plain, pixel_ops.equalize),
    partial(_plain, pixel_ops.invert),
    partial(_geometric, pixel_ops.rotate, _MAX_DEGREES),
    _posterize,
    _solarize,
    _solarize_add,
    partial(_enhance, pixel_ops.color),
    partial(_enhance, pixel_ops.contrast),
    partial(_enhance, pixel_ops.brightness),
    partial(_enhance, pixel_ops.sharpness),
    partial(_geometric, pixel_ops.shear_x, _MAX_SHEAR),
    partial(_geometric, pixel_ops.shear_y, _MAX_SHEAR),
    partial(_geometric, pixel_ops.translate_x, _MAX_SHIFT),
    partial(_geometric, pixel_ops.translate_y, _MAX_SHIFT),
)
"""timm's fifteen operations."""
