"""Verdicts against a paired t statistic computed with NumPy."""

import math

import numpy as np
import pytest

from vitaclip.ablate.table import judge
from vitaclip.ablate.variants import Claim

CLAIM = Claim(says="a helps", better="a", than="b")


@pytest.mark.parametrize("seed", range(20))
def test_outcome_is_twice_the_standard_error(seed: int) -> None:
    draw = np.random.default_rng(seed)
    a, b = draw.normal(0.02, 0.03, size=(2, 4)) + np.array([[0.02], [0.0]])
    verdict = judge(CLAIM, "test", a.tolist(), b.tolist())
    difference = a - b
    error = difference.std(ddof=1) / math.sqrt(4)
    assert verdict.difference == pytest.approx(difference.mean())
    assert verdict.standard_error == pytest.approx(error)
    t = difference.mean() / error
    assert verdict.outcome == ("held" if t > 2 else "reversed" if t < -2 else "not shown")


@pytest.mark.parametrize(
    ("better", "than", "outcome"),
    [
        ((0.1, 0.5, 0.9), (0.05, 0.44, 0.86), "held"),  # far apart between seeds, never within one
        ((0.05, 0.44, 0.86), (0.1, 0.5, 0.9), "reversed"),
        ((0.1, 0.5, 0.9), (0.44, 0.86, 0.05), "not shown"),
        ((0.9,), (0.1,), "not shown"),
        ((0.5, 0.6), (0.5, 0.6), "not shown"),
    ],
)
def test_values_are_paired_by_seed(better: tuple[float, ...], than: tuple[float, ...], outcome: str) -> None:
    assert judge(CLAIM, "test", better, than).outcome == outcome
