"""Verdicts against a paired t statistic computed with NumPy."""

import math

import numpy as np
import pytest

from vitaclip.ablate.claims import judge
from vitaclip.ablate.variants import Claim

CLAIM = Claim(says="a helps", better="a", than="b")


@pytest.mark.parametrize("seed", range(20))
def test_the_outcome_is_that_of_twice_the_standard_error(seed: int) -> None:
    draw = np.random.default_rng(seed)
    a, b = draw.normal(0.02, 0.03, size=(2, 4)) + np.array([[0.02], [0.0]])
    verdict = judge(CLAIM, "test", a.tolist(), b.tolist())
    difference = a - b
    error = difference.std(ddof=1) / math.sqrt(4)
    assert verdict.difference == pytest.approx(difference.mean())
    assert verdict.standard_error == pytest.approx(error)
    t = difference.mean() / error
    assert verdict.outcome == ("held" if t > 2 else "reversed" if t < -2 else "not shown")


def test_it_is_paired_by_seed() -> None:
    better, than = [0.1, 0.5, 0.9], [0.05, 0.44, 0.86]  # far apart between seeds, never within one
    assert judge(CLAIM, "test", better, than).outcome == "held"
    assert judge(CLAIM, "test", than, better).outcome == "reversed"
    assert judge(CLAIM, "test", better, than[1:] + than[:1]).outcome == "not shown"


def test_one_seed_and_no_difference_show_nothing() -> None:
    assert judge(CLAIM, "test", [0.9], [0.1]).outcome == "not shown"
    assert judge(CLAIM, "test", [0.5, 0.6], [0.5, 0.6]).outcome == "not shown"
