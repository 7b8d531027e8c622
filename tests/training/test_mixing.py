"""MixUp and CutMix: who is mixed with whom, how much, and what decides it."""

import numpy as np
import pytest

from vitaclip.data.config import AugmentConfig
from vitaclip.training.inputs import Mix, draw_mix, neighbours

SIZE = 32


def draws(config: AugmentConfig, seed: int = 0, steps: int = 2000) -> list[Mix]:
    mixes = [draw_mix(config, SIZE, seed, step) for step in range(steps)]
    return [mix for mix in mixes if mix is not None]


@pytest.mark.parametrize(("clips", "expected"), [(1, [0]), (2, [1, 0]), (4, [1, 0, 3, 2]), (5, [1, 0, 3, 2, 3])])
def test_neighbours(clips: int, expected: list[int]) -> None:
    assert neighbours(clips).tolist() == expected


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_mixup_lam_has_beta_distribution(alpha: float) -> None:
    mixes = draws(AugmentConfig(mixup=alpha))
    shares = np.array([mix.lam for mix in mixes])
    assert all(mix.box is None for mix in mixes)
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_cutmix_lam_is_area_left_by_box() -> None:
    mixes = draws(AugmentConfig(cutmix=1.0))
    covered = np.zeros((SIZE, SIZE))
    for mix in mixes:
        assert mix.box is not None
        top, left, bottom, right = mix.box
        assert 0 <= top <= bottom <= SIZE
        assert 0 <= left <= right <= SIZE
        assert mix.lam == pytest.approx(1 - (bottom - top) * (right - left) / SIZE**2)
        covered[top:bottom, left:right] += 1
    assert covered.min() > 0  # boxes reach every place
    shares = np.array([mix.lam for mix in mixes])
    assert shares.min() < 0.2
    assert shares.max() > 0.95


def test_mixup_and_cutmix_share_steps_equally() -> None:
    mixes = draws(AugmentConfig(mixup=0.8, cutmix=1.0))
    assert np.mean([mix.box is None for mix in mixes]) == pytest.approx(0.5, abs=0.04)


def test_seed_and_step_alone_decide() -> None:
    assert draws(AugmentConfig()) == []
    config = AugmentConfig(mixup=0.8, cutmix=1.0)
    assert draws(config, seed=3, steps=20) == draws(config, seed=3, steps=20)
    assert len({mix.lam for mix in draws(config, seed=3, steps=20)}) == 20
    assert draws(config, seed=3, steps=20) != draws(config, seed=4, steps=20)
    assert draw_mix(config, SIZE, 3, 17) == draws(config, seed=3, steps=20)[17]
