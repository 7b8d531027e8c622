"""The operations of RandAugment against Pillow."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from vitaclip.data.transforms import pixel_ops

FILL = (10, 128, 250)
PillowOp = Callable[[Image.Image], Image.Image]
ClipOp = Callable[[Tensor], Tensor]


def clip_of(kind: str) -> Tensor:
    """uint8 (2, 3, 37, 50): smooth colours, pure noise, few values, or one value."""
    rng = np.random.default_rng(1)
    if kind == "noise":
        return torch.from_numpy(rng.integers(0, 256, (2, 3, 37, 50), dtype=np.uint8))
    if kind == "few":
        return torch.from_numpy(rng.choice(np.array([40, 90, 200], dtype=np.uint8), (2, 3, 37, 50)))
    if kind == "flat":
        return torch.full((2, 3, 37, 50), 77, dtype=torch.uint8)
    small = rng.integers(30, 220, (2, 5, 6, 3), dtype=np.uint8)
    large = [np.asarray(Image.fromarray(frame).resize((50, 37), Image.Resampling.BICUBIC)) for frame in small]
    return torch.from_numpy(np.stack(large)).permute(0, 3, 1, 2)


def by_pillow(clip: Tensor, operation: PillowOp) -> np.ndarray:
    """Applies `operation` to each frame; int64 (T, H, W, 3)."""
    frames = [operation(Image.fromarray(frame)) for frame in clip.permute(0, 2, 3, 1).contiguous().numpy()]
    return np.stack([np.asarray(frame) for frame in frames]).astype(np.int64)


def by_us(clip: Tensor, operation: ClipOp) -> np.ndarray:
    result = operation(clip)
    assert result.dtype == torch.uint8
    return result.permute(0, 2, 3, 1).numpy().astype(np.int64)


EXACT: dict[str, tuple[ClipOp, PillowOp]] = {
    "auto_contrast": (pixel_ops.auto_contrast, ImageOps.autocontrast),
    "equalize": (pixel_ops.equalize, ImageOps.equalize),
    "invert": (pixel_ops.invert, ImageOps.invert),
}


def with_argument(
    ours: Callable[[Tensor, Any], Tensor], pillows: Callable[[Image.Image, Any], Image.Image], value: float
) -> tuple[ClipOp, PillowOp]:
    return lambda clip: ours(clip, value), lambda image: pillows(image, value)


for bits in (1, 2, 4, 8):
    EXACT[f"posterize {bits}"] = with_argument(pixel_ops.posterize, ImageOps.posterize, bits)
for threshold in (0, 1, 100, 255, 256):
    EXACT[f"solarize {threshold}"] = with_argument(pixel_ops.solarize, ImageOps.solarize, threshold)
for factor in (0.1, 0.55, 1.0, 1.3, 1.9):
    EXACT |= {
        f"color {factor}": with_argument(
            pixel_ops.color, lambda image, value: ImageEnhance.Color(image).enhance(value), factor
        ),
        f"contrast {factor}": with_argument(
            pixel_ops.contrast, lambda image, value: ImageEnhance.Contrast(image).enhance(value), factor
        ),
        f"brightness {factor}": with_argument(
            pixel_ops.brightness, lambda image, value: ImageEnhance.Brightness(image).enhance(value), factor
        ),
        f"sharpness {factor}": with_argument(
            pixel_ops.sharpness, lambda image, value: ImageEnhance.Sharpness(image).enhance(value), factor
        ),
    }


@pytest.mark.parametrize("kind", ["smooth", "noise", "few", "flat"])
@pytest.mark.parametrize("name", EXACT)
def test_equals_pillow(name: str, kind: str) -> None:
    ours, pillows = EXACT[name]
    clip = clip_of(kind)
    # One grey level where float32 arithmetic rounds a whole number down; exact nearly everywhere.
    difference = np.abs(by_us(clip, ours) - by_pillow(clip, pillows))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.02


def test_posterize_to_no_bits_is_black() -> None:
    assert pixel_ops.posterize(clip_of("noise"), 0).max() == 0


def test_solarize_add() -> None:
    clip = clip_of("noise")
    values = clip.numpy().astype(int)
    expected = np.where(values < 128, np.minimum(values + 110, 255), values)
    np.testing.assert_array_equal(pixel_ops.solarize_add(clip, 110).numpy(), expected)


def affine(matrix: tuple[float, ...]) -> PillowOp:
    return lambda image: image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC, fillcolor=FILL
    )


GEOMETRIC: dict[str, tuple[ClipOp, PillowOp]] = {
    "rotate left": (
        lambda clip: pixel_ops.rotate(clip, 20.0, FILL),
        lambda image: image.rotate(20.0, Image.Resampling.BICUBIC, fillcolor=FILL),
    ),
    "rotate right": (
        lambda clip: pixel_ops.rotate(clip, -33.0, FILL),
        lambda image: image.rotate(-33.0, Image.Resampling.BICUBIC, fillcolor=FILL),
    ),
    "shear x": (lambda clip: pixel_ops.shear_x(clip, 0.21, FILL), affine((1, 0.21, 0, 0, 1, 0))),
    "shear y": (lambda clip: pixel_ops.shear_y(clip, -0.3, FILL), affine((1, 0, 0, -0.3, 1, 0))),
    "translate x": (lambda clip: pixel_ops.translate_x(clip, 0.3, FILL), affine((1, 0, 15, 0, 1, 0))),
    "translate y": (lambda clip: pixel_ops.translate_y(clip, -0.2, FILL), affine((1, 0, 0, 0, 1, -7.4))),
}


@pytest.mark.parametrize("kind", ["smooth", "noise"])
@pytest.mark.parametrize("name", GEOMETRIC)
def test_geometry_equals_pillow(name: str, kind: str) -> None:
    ours, pillows = GEOMETRIC[name]
    clip = clip_of(kind)
    result, expected = by_us(clip, ours), by_pillow(clip, pillows)
    # A pixel that falls exactly on the edge of the picture may be inside for one and outside for the other.
    wrong = np.abs(result - expected).max(-1) > 1
    assert wrong.mean() < 0.01
    filled = (expected == FILL).all(-1)
    assert filled.mean() > 0.05
    assert ((result == FILL).all(-1) == filled).mean() > 0.99


@pytest.mark.parametrize("name", [*EXACT, *GEOMETRIC])
def test_no_frame_depends_on_another(name: str) -> None:
    ours, _ = {**EXACT, **GEOMETRIC}[name]
    clip = clip_of("smooth")
    assert torch.equal(ours(clip)[1], ours(clip[1:])[0])


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (3, 3)])
@pytest.mark.parametrize("name", [*EXACT, *GEOMETRIC])
def test_tiny_frames(name: str, size: tuple[int, int]) -> None:
    ours, _ = {**EXACT, **GEOMETRIC}[name]
    clip = clip_of("smooth")[..., : size[0], : size[1]]
    assert ours(clip).shape == clip.shape
