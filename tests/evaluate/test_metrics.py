"""The interval of a share, against the definition: the shares that this outcome is no surprise under."""

import math

import pytest

from vitaclip.evaluate.metrics import wilson_interval


@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (11, 11), (3, 11), (950, 1000)])
def test_ends_are_where_the_observed_share_is_1_96_deviations_off(right: int, count: int) -> None:
    share = right / count
    ends = wilson_interval(share, count)
    assert 0 <= ends[0] <= share <= ends[1] <= 1
    for end in ends:
        if end not in (0, 1):
            assert abs(share - end) / math.sqrt(end * (1 - end) / count) == pytest.approx(1.96, rel=1e-3)
    assert ends[1] - ends[0] > 0.02
