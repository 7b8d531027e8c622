"""A training clip: one draw for all frames; colours against torchvision's definitions, written out in float64."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from vitaclip.data.config import AugmentConfig
from vitaclip.data.transforms import TrainTransform, jitter_colours, multiscale_crop_box, to_grey

NO_CROP = AugmentConfig(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))


def a_clip(frames: int = 3, side: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (frames, 3, side, side), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(
    "augment",
    [
        replace(NO_CROP, color_jitter=1.0),
        replace(NO_CROP, grey=1.0),
        AugmentConfig(crop="multiscale", flip=0.5, color_jitter=0.8, grey=0.2),
    ],
    ids=["jitter", "grey", "all"],
)
def test_equal_frames_stay_equal(augment: AugmentConfig) -> None:
    still = a_clip(1).expand(4, -1, -1, -1)
    for seed in range(5):
        clip = TrainTransform(size=8, augment=augment)(still, np.random.default_rng(seed))
        assert all(torch.equal(frame, clip[0]) for frame in clip)


def test_settings_that_are_off_draw_nothing() -> None:
    on = replace(NO_CROP, flip=0.5, color_jitter=1e-12, grey=1e-12)
    clip = a_clip()
    for seed in range(8):
        plain = TrainTransform(size=8, augment=replace(NO_CROP, flip=0.5))(clip, np.random.default_rng(seed))
        assert torch.equal(plain, TrainTransform(size=8, augment=on)(clip, np.random.default_rng(seed)))


def test_brightness_contrast_saturation_are_blends() -> None:
    clip = a_clip(1)
    pixels = clip[0].double()
    luma = (pixels * torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]).sum(0)
    others = (torch.zeros_like(pixels), luma.mean().expand_as(pixels), luma.expand_as(pixels))
    for number, other in enumerate(others):
        strengths = tuple(0.4 if place == number else 0.0 for place in range(4))
        rng = np.random.default_rng(3)
        factor = [rng.uniform(1 - s, 1 + s) for s in strengths[:3]][number]
        expected = (factor * pixels + (1 - factor) * other).clamp(0, 255)
        jittered = jitter_colours(clip, strengths, np.random.default_rng(3))[0]  # type: ignore[arg-type]
        assert (jittered.double() - expected).abs().max() <= 2


def test_hue_turns_and_keeps_the_rest() -> None:
    clip = a_clip(1)
    rng = np.random.default_rng(0)
    for _ in range(3):
        rng.uniform(1, 1)
    turn = round(rng.uniform(-0.1, 0.1) * 255) / 255
    jittered = jitter_colours(clip, (0.0, 0.0, 0.0, 0.1), np.random.default_rng(0))[0]
    for before, after in zip(clip[0].flatten(1).T.tolist(), jittered.flatten(1).T.tolist(), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in before))
        expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
        assert max(abs(255 * e - a) for e, a in zip(expected, after, strict=True)) <= 8  # hue of 8 bits


def test_grey_is_luma_in_all_channels() -> None:
    clip = a_clip()
    luma = (clip.double() * torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]).sum(1)
    grey = to_grey(clip).double()
    assert (grey - luma[:, None]).abs().max() <= 1
    assert torch.equal(grey[:, 0], grey[:, 2])


def test_multiscale_boxes_are_the_thirteen_published() -> None:
    rng = np.random.default_rng(0)
    boxes = {multiscale_crop_box(240, 320, rng) for _ in range(2000)}
    sides = [240, 210, 180, 158]
    expected = set()
    for i, height in enumerate(sides):
        for j, width in enumerate(sides):
            if abs(i - j) <= 1:
                below, right = 240 - height, 320 - width
                places = ((0, 0), (0, right), (below, 0), (below, right), (below // 2, right // 2))
                expected |= {(top, left, height, width) for top, left in places}
    assert boxes == expected
