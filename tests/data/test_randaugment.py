"""RandAugment: its setting strings, its strengths, one draw for a clip."""

import numpy as np
import pytest
import torch

from vitaclip.data import RandAugment, parse_randaugment, pixel_ops
from vitaclip.data.randaugment import OPERATIONS

# Numbers of the operations in timm's order.
POSTERIZE, SOLARIZE, SOLARIZE_ADD, COLOR, ROTATE, SHEAR_X, TRANSLATE_Y = 4, 5, 6, 7, 3, 11, 14


def noise(frames: int = 1) -> torch.Tensor:
    values = np.random.default_rng(0).integers(0, 256, (1, 3, 20, 26), dtype=np.uint8)
    return torch.from_numpy(values).expand(frames, -1, -1, -1)


def test_published_setting() -> None:
    assert parse_randaugment("rand-m7-n4-mstd0.5-inc1") == RandAugment(7, 4, 0.5, True)


def test_parts_in_any_order_and_defaults() -> None:
    assert parse_randaugment("rand") == RandAugment(10, 2, 0, False)
    assert parse_randaugment("rand-inc0-n3-m2.5") == RandAugment(2.5, 3, 0, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rnd-m7", "must begin with 'rand'"),
        ("rand-m7-k4", "part 'k4'"),
        ("rand-m", "part 'm'"),
        ("rand-m7-", "part ''"),
        ("rand-m-7", "part 'm'"),
        ("rand-m7-m8", "'m8' gives m a second time"),
        ("rand-m11", r"magnitude = 11.0: must lie in 0\.\.10"),
        ("rand-n0", "num_layers = 0: must be at least 1"),
        ("rand-n1.5", "'n1.5' must be a whole number"),
        ("rand-mstd11", "magnitude_std"),
        ("rand-inc2", "'inc2' must be inc0 or inc1"),
        ("rand-w0", "weighted choice"),
    ],
)
def test_fault_16_a_typo_is_an_error_that_shows_the_part(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_randaugment(text)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fault_16_inc0_means_off() -> None:
    assert not parse_randaugment("rand-m9-inc0").increasing
    assert parse_randaugment("rand-m9-inc1").increasing


def test_fill_is_checked() -> None:
    with pytest.raises(ValueError, match=r"RandAugment\.fill"):
        RandAugment(fill=(0, 0, 256))


def test_strengths() -> None:
    """timm's level functions at magnitude 7 of 10, worked out by hand."""
    clip, classic, increasing = noise(), RandAugment(), RandAugment(increasing=True)
    expected = {
        (POSTERIZE, classic, 1): pixel_ops.posterize(clip, 2),
        (POSTERIZE, increasing, 1): pixel_ops.posterize(clip, 2),
        (SOLARIZE, classic, 1): pixel_ops.solarize(clip, 179),
        (SOLARIZE, increasing, 1): pixel_ops.solarize(clip, 77),
        (SOLARIZE_ADD, classic, 1): pixel_ops.solarize_add(clip, 77),
        (COLOR, classic, -1): pixel_ops.color(clip, 0.7 * 1.8 + 0.1),
        (COLOR, increasing, 1): pixel_ops.color(clip, 1 + 0.63),
        (COLOR, increasing, -1): pixel_ops.color(clip, 1 - 0.63),
        (ROTATE, classic, -1): pixel_ops.rotate(clip, -21, (128, 128, 128)),
        (SHEAR_X, classic, 1): pixel_ops.shear_x(clip, 0.21, (128, 128, 128)),
        (TRANSLATE_Y, increasing, -1): pixel_ops.translate_y(clip, -0.315, (128, 128, 128)),
    }
    for (number, settings, sign), result in expected.items():
        difference = OPERATIONS[number](clip, 0.7, sign, settings).int() - result.int()
        assert difference.abs().max() <= 1, number
    assert torch.equal(OPERATIONS[POSTERIZE](clip, 0.25, 1, increasing), pixel_ops.posterize(clip, 3))
    assert torch.equal(OPERATIONS[COLOR](clip, 1.0, -1, increasing), pixel_ops.color(clip, 0.1))


def test_one_draw_for_the_whole_clip() -> None:
    augment = parse_randaugment("rand-m9-n3-mstd1-inc1")
    changed = 0
    for seed in range(40):
        clip = augment(noise(frames=4), np.random.default_rng(seed))
        assert clip.shape == (4, 3, 20, 26)
        assert clip.dtype == torch.uint8
        assert torch.equal(clip, clip[:1].expand_as(clip))
        changed += not torch.equal(clip, noise(frames=4))
    assert changed > 25


def test_the_generator_alone_decides() -> None:
    augment = parse_randaugment("rand-m9-n3-mstd1-inc1")
    first, again, other = (augment(noise(), np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_operation_is_drawn_and_applied_half_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[tuple[int, float, int]] = []

    def recorder(number: int) -> object:
        def record(clip: torch.Tensor, level: float, sign: int, settings: RandAugment) -> torch.Tensor:
            applied.append((number, level, sign))
            return clip

        return record

    monkeypatch.setattr("vitaclip.data.randaugment.OPERATIONS", tuple(recorder(n) for n in range(15)))
    rng = np.random.default_rng(0)
    augment = RandAugment(magnitude=7, num_layers=4, magnitude_std=2)
    for _ in range(1500):
        augment(noise(), rng)
    numbers, levels, signs = (np.array(values) for values in zip(*applied, strict=True))
    assert len(applied) / 6000 == pytest.approx(0.5, abs=0.03)
    assert np.bincount(numbers, minlength=15) / len(applied) == pytest.approx(1 / 15, abs=0.02)
    assert signs.mean() == pytest.approx(0, abs=0.06)
    assert levels.max() == 1
    assert np.median(levels) == pytest.approx(0.7, abs=0.02)
    assert levels[levels < 1].std() > 0.1
