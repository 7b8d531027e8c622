"""RandAugment: its setting strings; every operation stated anew with Pillow; its draws; one draw for a clip."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from vitaclip.data.randaugment import OPERATIONS, RandAugment, parse_randaugment

NAMES = [
    *("AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "SolarizeAdd", "Color", "Contrast"),
    *("Brightness", "Sharpness", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"),
]


def noise(frames: int = 1) -> torch.Tensor:
    values = np.random.default_rng(0).integers(0, 256, (1, 3, 20, 26), dtype=np.uint8)
    return torch.from_numpy(values).expand(frames, -1, -1, -1)


def smooth(frames: int = 3) -> torch.Tensor:
    """uint8 (frames, 3, 36, 50), all frames different."""
    small = np.random.default_rng(1).integers(10, 240, (frames, 5, 6, 3), dtype=np.uint8)
    large = [np.asarray(Image.fromarray(frame).resize((50, 36), Image.Resampling.BICUBIC)) for frame in small]
    return torch.from_numpy(np.stack(large)).permute(0, 3, 1, 2)


def images(clip: torch.Tensor) -> list[Image.Image]:
    return [Image.fromarray(frame) for frame in clip.permute(0, 2, 3, 1).contiguous().numpy()]


# ------------------------------------------------------------------------------------------------ setting strings


def test_parts_in_any_order_with_timm_defaults() -> None:
    defaults = RandAugment(
        magnitude=10, num_layers=2, probability=0.5, magnitude_std=0, max_magnitude=10, increasing=False
    )
    assert parse_randaugment("rand") == defaults
    assert parse_randaugment("rand-inc0-n3-m2") == RandAugment(magnitude=2, num_layers=3)
    every = parse_randaugment("rand-p0.25-mmax30-mstd101-n5-m20-inc1")
    assert every == RandAugment(20, 5, 0.25, 101, 30, increasing=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rnd-m7", "must begin with 'rand'"),
        ("rand-m7-k4", "part 'k4'"),
        ("rand-m", "part 'm'"),
        ("rand-m-7", "part 'm'"),
        ("rand-m7.5", "part 'm7.5'"),
        ("rand-m7-m8", "'m8' gives m a second time"),
        ("rand-mmax12-m13", r"magnitude = 13.0: must lie in 0\.\.12"),
        ("rand-m11", r"magnitude = 11.0: must lie in 0\.\.10, or raise mmax"),
        ("rand-mmax0", "max_magnitude = 0.0: must be above 0"),
        ("rand-n0", "num_layers = 0: must be at least 1"),
        ("rand-n1.5", "part 'n1.5'"),
        ("rand-p1.5", "probability = 1.5: must be at least 0 and at most 1"),
        ("rand-mstdinf", "part 'mstdinf'"),
        ("rand-mstd0,5", "part 'mstd0,5'"),
        ("rand-inc", "part 'inc'"),
        ("rand-t3a", "part 't3a'"),
        ("rand-m7_n4", "part 'm7_n4'"),
    ],
)
def test_typo_error_names_the_part(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_randaugment(text)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    if "part '" in message or "begin" in message:  # what is meant is not known: all that is allowed is listed
        for part in ("m7 ", "n4 ", "p0.5 ", "mstd0.5 ", "mmax10 ", "inc1 or inc0 "):
            assert part in str(caught.value)


# ---------------------------------------------------------------------------- the operations, stated with Pillow

GREY = (128, 128, 128)


def warped(image: Image.Image, *six: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, six, Image.Resampling.BICUBIC, fillcolor=GREY)


@pytest.mark.parametrize(
    ("name", "magnitude", "sign", "increasing", "expected"),
    [
        ("AutoContrast", 7, 1, False, ImageOps.autocontrast),
        ("Equalize", 7, 1, False, ImageOps.equalize),
        ("Invert", 7, 1, False, ImageOps.invert),
        ("Rotate", 7, 1, False, lambda i: i.rotate(21, Image.Resampling.BICUBIC, fillcolor=GREY)),
        ("Rotate", 10, -1, True, lambda i: i.rotate(-30, Image.Resampling.BICUBIC, fillcolor=GREY)),
        ("Posterize", 8, 1, False, lambda i: ImageOps.posterize(i, 3)),
        ("Posterize", 8, 1, True, lambda i: ImageOps.posterize(i, 1)),
        ("Posterize", 10, 1, True, lambda i: i.point([0] * 768)),
        ("Solarize", 7, 1, False, lambda i: ImageOps.solarize(i, 179)),
        ("Solarize", 7, 1, True, lambda i: ImageOps.solarize(i, 77)),
        ("SolarizeAdd", 10, 1, False, lambda i: i.point([v + 110 if v < 128 else v for v in range(256)] * 3)),
        ("Color", 7, 1, False, lambda i: ImageEnhance.Color(i).enhance(1.36)),
        ("Color", 7, -1, True, lambda i: ImageEnhance.Color(i).enhance(1 - 0.63)),
        ("Contrast", 10, -1, True, lambda i: ImageEnhance.Contrast(i).enhance(0.1)),
        ("Contrast", 0, 1, True, lambda i: i),
        ("Brightness", 10, 1, True, lambda i: ImageEnhance.Brightness(i).enhance(1.9)),
        ("Sharpness", 5, 1, False, lambda i: ImageEnhance.Sharpness(i).enhance(1.0)),
        ("Sharpness", 5, 1, True, lambda i: ImageEnhance.Sharpness(i).enhance(1.45)),
        ("ShearX", 5, 1, False, lambda i: warped(i, 1, 0.15, 0, 0, 1, 0)),
        ("ShearY", 10, -1, True, lambda i: warped(i, 1, 0, 0, -0.3, 1, 0)),
        ("TranslateXRel", 5, -1, False, lambda i: warped(i, 1, 0, -0.225 * 50, 0, 1, 0)),
        ("TranslateYRel", 10, 1, True, lambda i: warped(i, 1, 0, 0, 0, 1, 0.45 * 36)),
    ],
)
def test_operations_are_those_of_pillow(
    name: str, magnitude: float, sign: int, increasing: bool, expected: Callable[[Image.Image], Image.Image]
) -> None:
    (frame,) = images(smooth(1))
    result = OPERATIONS[name](frame, magnitude / 10, sign, RandAugment(increasing=increasing))
    assert np.array_equal(np.asarray(result), np.asarray(expected(frame)))


def test_operations_are_timm_fifteen() -> None:
    assert list(OPERATIONS) == NAMES


def test_warp_is_bicubic_and_leaves_fill() -> None:
    """A line of 200 on black, moved by half a pixel: Pillow's bicubic kernel gives it 0.625, bilinear 0.5."""
    clip = torch.zeros(1, 3, 9, 9, dtype=torch.uint8)
    clip[..., 4] = 200
    (frame,) = images(clip)
    row = np.asarray(OPERATIONS["TranslateXRel"](frame, 0.5 / 9 / 0.45, 1, RandAugment()))[4]
    assert row[3, 0] == row[4, 0] == 125
    assert row[2, 0] == row[5, 0] == 0
    assert row[8].tolist() == [128, 128, 128]


# -------------------------------------------------------------------------------------------------------- draws


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[list[str], np.ndarray, np.ndarray]]:
    """Gives names, strengths (1 at magnitude 10) and signs of all that 1500 clips go through under a setting."""
    applied: list[tuple[str, float, int]] = []

    def note(name: str, image: Image.Image, level: float, sign: int, _: RandAugment) -> Image.Image:
        applied.append((name, level, sign))
        return image

    monkeypatch.setattr("vitaclip.data.randaugment.OPERATIONS", {name: partial(note, name) for name in NAMES})

    def draw(text: str) -> tuple[list[str], np.ndarray, np.ndarray]:
        augment, rng = parse_randaugment(text), np.random.default_rng(0)
        for _ in range(1500):
            augment(torch.zeros(1, 3, 1, 1, dtype=torch.uint8), rng)
        names, levels, signs = zip(*applied, strict=True)
        return list(names), np.array(levels), np.array(signs)

    return draw


@pytest.mark.parametrize(("text", "applied"), [("-mstd0.5-inc1", 0.5), ("-p0.1", 0.1), ("-p1.0", 1.0)])
def test_operations_and_signs_are_uniform(drawn: Callable[..., Any], text: str, applied: float) -> None:
    names, _, signs = drawn(f"rand-m7-n4{text}")
    assert len(names) / 6000 == pytest.approx(applied, abs=0.03)
    shares = np.array([names.count(name) for name in NAMES]) / len(names)
    assert shares == pytest.approx(np.full(15, 1 / 15), abs=0.03)
    assert signs.mean() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("text", "below", "above"),
    [
        ("m7", 0.7, 0.7),
        ("m5-mstd1", 0.4, 0.6),
        ("m9-mstd3", 0.6, 1.0),  # cut off at the greatest magnitude
        ("m9-mstd3-mmax12", 0.6, 1.2),
        ("m8-mstd100", 0.0, 1.0),
        ("m8-mstd100.5", 0.8 * 0.1587, 0.8 * 0.8413),  # uniform from here on
    ],
)
def test_magnitudes_are_normal_or_uniform(drawn: Callable[..., Any], text: str, below: float, above: float) -> None:
    """The strengths one standard deviation below and above the middle."""
    _, levels, _ = drawn(f"rand-n4-p1-{text}")
    assert np.quantile(levels, [0.1587, 0.8413]) == pytest.approx([below, above], abs=0.02)
    assert 0 <= levels.min() <= levels.max() <= (1.2 if "mmax" in text else 1)


# ------------------------------------------------------------------------------------- one draw for the whole clip


def test_one_draw_serves_whole_clip() -> None:
    augment = parse_randaugment("rand-m9-n3-mstd1-inc1")
    changed = 0
    for seed in range(40):
        clip = augment(noise(frames=4), np.random.default_rng(seed))
        assert clip.shape == (4, 3, 20, 26)
        assert clip.dtype == torch.uint8
        assert torch.equal(clip, clip[:1].expand_as(clip))
        changed += not torch.equal(clip, noise(frames=4))
    assert changed > 25


def test_frame_result_independent_of_clip() -> None:
    augment, clip = parse_randaugment("rand-m9-n4-mstd1-inc1"), smooth()
    for seed in range(20):
        together = augment(clip, np.random.default_rng(seed))
        alone = [augment(frame.unsqueeze(0), np.random.default_rng(seed)) for frame in clip]
        assert torch.equal(together, torch.cat(alone))
