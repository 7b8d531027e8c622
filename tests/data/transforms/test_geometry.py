"""Clip transforms against Pillow and brute force."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from vitaclip.data.transforms import (
    FrameFit,
    crop_box,
    resize,
    spatial_views,
)


def picture(frames: int = 2, height: int = 60, width: int = 80) -> Tensor:
    """Smooth colours with some noise."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (frames, 7, 9, 3), dtype=np.uint8)
    large = [np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC)) for frame in small]
    return torch.from_numpy(np.stack(large)).permute(0, 3, 1, 2)


@pytest.mark.parametrize(("height", "width"), [(30, 40), (90, 100), (25, 80)])
def test_resize_is_pillows_bicubic(height: int, width: int) -> None:
    clip = picture()
    resized = resize(clip, height, width)
    for frame, result in zip(clip, resized, strict=True):
        image = Image.fromarray(frame.permute(1, 2, 0).numpy()).resize((width, height), Image.Resampling.BICUBIC)
        difference = np.abs(np.asarray(image).astype(int) - result.permute(1, 2, 0).numpy().astype(int))
        assert difference.max() <= 2


def test_resize_treats_every_frame_alike() -> None:
    clip = picture(frames=3)
    assert torch.equal(resize(clip, 31, 45)[2], resize(clip[2:], 31, 45)[0])


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(60, 80, (24, 32)), (80, 60, (32, 24)), (61, 100, (24, 39)), (24, 24, (24, 24)), (5, 50, (24, 240))],
)
def test_resize_short_side(height: int, width: int, expected: tuple[int, int]) -> None:
    assert FrameFit().resize(picture(1, height, width), 24).shape[-2:] == expected


@pytest.mark.parametrize(("crops", "starts"), [(1, [28]), (2, [0, 56]), (3, [0, 28, 56]), (5, [0, 14, 28, 42, 56])])
def test_any_number_of_spatial_views(crops: int, starts: list[int]) -> None:
    wide = picture(2, 24, 80)
    views = spatial_views(wide, 24, crops)
    assert views.shape == (crops, 2, 3, 24, 24)
    for view, start in zip(views, starts, strict=True):
        assert torch.equal(view, wide[..., start : start + 24])
    tall = wide.transpose(-1, -2)
    assert torch.equal(spatial_views(tall, 24, crops), views.transpose(-1, -2))


def test_crops_are_central_on_the_short_side() -> None:
    clip = picture(1, 30, 80)
    assert torch.equal(spatial_views(clip, 24, 3)[0], clip[..., 3:27, 0:24])


def test_crop_boxes_keep_scale_and_ratio() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([crop_box(240, 320, (0.08, 1.0), (3 / 4, 4 / 3), rng) for _ in range(2000)])
    top, left, height, width = boxes.T
    assert top.min() == 0
    assert left.min() == 0
    assert (top + height).max() == 240
    assert (left + width).max() == 320
    share = height * width / (240 * 320)
    assert share.min() == pytest.approx(0.08, abs=0.01)
    assert 0.9 < share.max() <= 1
    log_ratio = np.log(width / height)
    # Rounding to whole pixels moves the ratio by a few percent in the smallest boxes.
    assert np.abs(log_ratio).max() < np.log(4 / 3) + 0.03


def test_crop_boxes_are_as_often_wide_as_tall() -> None:
    rng = np.random.default_rng(0)  # boxes of at most half the frame always fit: none is drawn again
    boxes = np.array([crop_box(300, 300, (0.08, 0.5), (3 / 4, 4 / 3), rng) for _ in range(2000)])
    log_ratio = np.log(boxes[:, 3] / boxes[:, 2])
    assert abs(log_ratio.mean()) < 0.02
    assert log_ratio.std() == pytest.approx(np.log(4 / 3) / np.sqrt(3), rel=0.05)  # uniform in the logarithm


@pytest.mark.parametrize(("height", "width", "box"), [(10, 200, (0, 93, 10, 13)), (200, 10, (93, 0, 13, 10))])
def test_unfitting_crop_falls_back_to_centre(height: int, width: int, box: tuple[int, int, int, int]) -> None:
    assert crop_box(height, width, (0.9, 1.0), (3 / 4, 4 / 3), np.random.default_rng(0)) == box
