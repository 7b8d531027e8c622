"""RandAugment for clips: one draw of operations and strengths serves all frames of a clip.

Source: Cubuk et al., RandAugment, 2019. The setting strings, the operations and their strengths are those of timm,
which the published recipe names (`rand-m7-n4-mstd0.5-inc1`): a string that is accepted here means the same there.
Pillow computes the pixels, as in timm. Turns, shears and shifts are bicubic and leave grey behind, as in the published
code.

Axes: T frames, H x W pixels; a clip is uint8 (T, 3, H, W).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from vitaclip.settings import Config, NonNegativeFloat, PositiveFloat, PositiveInt, Probability, require

_GREY = (128, 128, 128)
"""Colour of the places that a turn, shear or shift leaves empty."""
_UNIT = 10.0  # the magnitude at which a strength is whole
_UNIFORM_FROM = 100.0  # a standard deviation above this one means a uniform draw
_MAX_DEGREES, _MAX_SHEAR, _MAX_SHIFT = 30.0, 0.3, 0.45


@dataclass(frozen=True)
class RandAugment(Config):
    """Random image operations, the same ones for all frames of a clip. See `parse_randaugment`."""

    magnitude: NonNegativeFloat = 10.0
    """Mean strength, 0 to `max_magnitude`."""
    num_layers: PositiveInt = 2
    """Operations drawn per clip, with replacement."""
    probability: Probability = 0.5
    """Chance that a drawn operation is applied."""
    magnitude_std: NonNegativeFloat = 0.0
    """Standard deviation of the strength, drawn anew for each operation; the result is cut to 0..max_magnitude.
    Above 100: the strength is uniform between 0 and `magnitude`."""
    max_magnitude: PositiveFloat = 10.0
    """Greatest strength. At 10 the operations have the ranges of the paper."""
    increasing: bool = False
    """Strengths of all operations grow with the magnitude (for some the classic set has it the other way)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range = self.magnitude <= self.max_magnitude
        require(in_range, self, "magnitude", f"must lie in 0..{self.max_magnitude:g}, or raise mmax")

    def __call__(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        """Draw once and apply the draw to all frames of a clip, uint8 (T, 3, H, W) like the result."""
        operations = list(OPERATIONS.values())
        images = [Image.fromarray(frame) for frame in clip.permute(0, 2, 3, 1).contiguous().numpy()]
        for number in rng.integers(len(OPERATIONS), size=self.num_layers):
            # The same draws are made whether or not the operation is applied.
            applied = rng.random() < self.probability
            level = self._draw_magnitude(rng) / _UNIT
            sign = 1 if rng.random() < 0.5 else -1
            if applied:
                images = [operations[number](image, level, sign, self) for image in images]
        return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)

    def _draw_magnitude(self, rng: np.random.Generator) -> float:
        if self.magnitude_std > _UNIFORM_FROM:
            drawn = rng.uniform(0, self.magnitude)
        else:
            drawn = rng.normal(self.magnitude, self.magnitude_std)
        return float(np.clip(drawn, 0, self.max_magnitude))


_NUMBER, _WHOLE = r"\d+(\.\d+)?", r"\d+"
_PARTS = {
    "mstd": ("magnitude_std", _NUMBER, "mstd0.5 (spread of the strength, above 100: uniform from 0 to m)"),
    "mmax": ("max_magnitude", _WHOLE, "mmax10 (greatest strength)"),
    "m": ("magnitude", _WHOLE, "m7 (strength, a whole number)"),
    "n": ("num_layers", _WHOLE, "n4 (operations per clip, a whole number)"),
    "p": ("probability", _NUMBER, "p0.5 (chance of each operation)"),
    "inc": ("increasing", "[01]", "inc1 or inc0 (growing strengths or not)"),
}
_CONVERT: dict[str, Callable[[str], Any]] = {"n": int, "inc": lambda text: text == "1"}
_ALLOWED = "allowed are " + ", ".join(meaning for *_, meaning in _PARTS.values())


def parse_randaugment(text: str) -> RandAugment:
    """Read a setting string of timm: `rand` and parts joined by `-`, in any order, each at most once.

    Raises:
        ValueError: a part that is unknown or out of range; timm passes over some of them. Its other sets of operations
            and its weighted choice (`t3a`, `t3aw`, `tweights`) are not offered.

    >>> parse_randaugment("rand-m7-n4-mstd0.5-inc1").num_layers
    4
    """
    place = f"randaugment = {text!r}"
    head, *parts = text.split("-")
    if head != "rand":
        raise ValueError(f"{place}: must begin with 'rand', e.g. rand-m7-n4-mstd0.5-inc1; {_ALLOWED}")
    values: dict[str, Any] = {}
    for part in parts:
        match = re.fullmatch(rf"({'|'.join(_PARTS)})(.*)", part)
        field, pattern, _ = _PARTS[match[1]] if match else ("", "", "")
        if match is None or not re.fullmatch(pattern, match[2]):
            raise ValueError(f"{place}: part {part!r} is not one of its settings; {_ALLOWED}")
        if field in values:
            raise ValueError(f"{place}: part {part!r} gives {match[1]} a second time; remove one")
        values[field] = _CONVERT.get(match[1], float)(match[2])
    try:
        return RandAugment(**values)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


Operation = Callable[[Image.Image, float, int, RandAugment], Image.Image]
"""Takes an RGB image, a level (1 at magnitude 10), a sign (+1 or -1) and the settings."""


def _plain(function: Callable[[Image.Image], Image.Image]) -> Operation:
    return lambda image, level, sign, settings: function(image)


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    def apply(image: Image.Image, level: float, sign: int, settings: RandAugment) -> Image.Image:
        factor = max(0.1, 1 + sign * level * 0.9) if settings.increasing else level * 1.8 + 0.1
        return kind(image).enhance(factor)

    return apply


def _warp(matrix: Callable[[float, Image.Image], tuple[float, ...]]) -> Operation:
    """Pixel (x, y) of the result comes from (a x + b y + c, d x + e y + f), the matrix being (a, b, c, d, e, f)."""

    def apply(image: Image.Image, level: float, sign: int, settings: RandAugment) -> Image.Image:
        affine, bicubic = Image.Transform.AFFINE, Image.Resampling.BICUBIC
        return image.transform(image.size, affine, matrix(sign * level, image), bicubic, fillcolor=_GREY)

    return apply


def _rotate(image: Image.Image, level: float, sign: int, settings: RandAugment) -> Image.Image:
    return image.rotate(sign * level * _MAX_DEGREES, Image.Resampling.BICUBIC, fillcolor=_GREY)


def _posterize(image: Image.Image, level: float, sign: int, settings: RandAugment) -> Image.Image:
    bits = int(level * 4)
    kept = max(0, 4 - bits) if settings.increasing else min(8, bits)  # ImageOps.posterize refuses 0
    return image.point([value & (256 - (1 << (8 - kept))) for value in range(256)] * 3)


def _solarize(image: Image.Image, level: float, sign: int, settings: RandAugment) -> Image.Image:
    threshold = min(256, int(level * 256))
    return ImageOps.solarize(image, 256 - threshold if settings.increasing else threshold)


def _solarize_add(image: Image.Image, level: float, sign: int, settings: RandAugment) -> Image.Image:
    added = min(128, int(level * 110))
    return image.point([min(255, value + added) if value < 128 else value for value in range(256)] * 3)


OPERATIONS: dict[str, Operation] = {
    "AutoContrast": _plain(ImageOps.autocontrast),
    "Equalize": _plain(ImageOps.equalize),
    "Invert": _plain(ImageOps.invert),
    "Rotate": _rotate,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "SolarizeAdd": _solarize_add,
    "Color": _enhance(ImageEnhance.Color),
    "Contrast": _enhance(ImageEnhance.Contrast),
    "Brightness": _enhance(ImageEnhance.Brightness),
    "Sharpness": _enhance(ImageEnhance.Sharpness),
    "ShearX": _warp(lambda level, image: (1, level * _MAX_SHEAR, 0, 0, 1, 0)),
    "ShearY": _warp(lambda level, image: (1, 0, 0, level * _MAX_SHEAR, 1, 0)),
    "TranslateXRel": _warp(lambda level, image: (1, 0, level * _MAX_SHIFT * image.width, 0, 1, 0)),
    "TranslateYRel": _warp(lambda level, image: (1, 0, 0, 0, 1, level * _MAX_SHIFT * image.height)),
}
"""timm's fifteen operations, by its names."""
