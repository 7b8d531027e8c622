"""Which validation was best, and when to stop."""

import pytest

from vitaclip.train.stopping import EarlyStopping


@pytest.mark.parametrize(
    ("values", "patience", "best", "exhausted"),
    [
        ([], 1, None, False),
        ([0.5], 1, 10, False),
        ([0.5, 0.4], 1, 10, True),
        ([0.5, 0.5], 1, 10, True),  # as good is not better
        ([0.5, 0.4], 2, 10, False),
        ([0.5, 0.4, 0.6, 0.5], 2, 30, False),
        ([0.5, 0.4, 0.6, 0.5, 0.1], 2, 30, True),
        ([0.5, 0.4, 0.3, 0.2], 0, 10, False),  # never stops
    ],
)
def test_best_and_exhausted(values: list[float], patience: int, best: int | None, exhausted: bool) -> None:
    validations = EarlyStopping(patience, {10 * number: value for number, value in enumerate(values, start=1)})
    assert validations.best_step == best
    assert validations.should_stop == exhausted
