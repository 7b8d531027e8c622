"""From scores of windows to segments: curves, ends, merging, suppression."""

from dataclasses import replace

import numpy as np
import pytest

from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.segments import find_cuts, find_segments, length_curves
from vitaclip.moments.table import Segment
from vitaclip.moments.windows import Windows

SETTINGS = MomentsConfig(lengths_s=(2.0, 4.0), threshold=0.5, smooth=0.0, snap=0.0)
TIMES = np.arange(60) + 0.5


def bump(*spans: tuple[int, int, float]) -> np.ndarray:
    """A curve (60,) that is as high as said between two steps, and 0 elsewhere."""
    curve = np.zeros(60, np.float32)
    for start, end, height in spans:
        curve[start:end] = height
    return curve


def found(
    *curves: np.ndarray, changes: np.ndarray | None = None, cuts: tuple[int, ...] = (), **values: float
) -> list[tuple[float, float, str, float]]:
    """The segments of curves (60,) or (60, K), one of each length."""
    stacked = np.stack([curve.reshape(60, -1) for curve in curves])
    still = np.zeros(60) if changes is None else changes
    settings = replace(SETTINGS, **values)  # type: ignore[arg-type]
    segments = find_segments(stacked, TIMES, still, 60.0, ("run", "jump"), settings, cuts)
    return [(each.start_s, each.end_s, each.label, round(each.score, 3)) for each in segments]


def test_ends_lie_between_steps() -> None:
    curve = bump((10, 20, 0.8))
    curve[9], curve[20] = 0.2, 0.3  # the curve is at 0.4 a third and a fifth of a step from its end
    ((start, end, label, _),) = found(curve)
    assert (start, end) == pytest.approx((9.5 + 1 / 3, 19.5 + 0.8))
    assert label == "run"


def test_a_segment_at_the_border_reaches_it() -> None:
    assert [each[:2] for each in found(bump((0, 5, 0.9), (50, 60, 0.9)))] == [(0.0, 5.0), (50.0, 60.0)]


@pytest.mark.parametrize(("gap", "expected"), [(1, [(10.0, 31.0)]), (3, [(10.0, 20.0), (23.0, 33.0)])])
def test_small_gaps_are_closed(gap: int, expected: list[tuple[float, float]]) -> None:
    segments = found(bump((10, 20, 0.9), (20 + gap, 30 + gap, 0.8)), merge_s=1.5)
    assert [each[:2] for each in segments] == expected


def test_lengths_that_agree_give_one_segment() -> None:
    short, long = bump((10, 14, 0.9), (20, 24, 0.9)), bump((8, 26, 0.9))
    assert [each[:2] for each in found(short, long)] == [(8.0, 26.0)]
    assert [each[:2] for each in found(short, 0 * long)] == [(10.0, 14.0), (20.0, 24.0)]
    assert len(found(short, long, overlap=1.0)) == 3


def test_classes_are_found_apart_and_in_order() -> None:
    curves = np.stack([bump((20, 30, 0.9)), bump((10, 40, 0.7))], axis=1)
    assert found(curves) == [(10.0, 40.0, "jump", 0.7), (20.0, 30.0, "run", 0.9)]
    assert found(curves, threshold=0.8) == [(20.0, 30.0, "run", 0.9)]


def test_ends_move_to_where_the_picture_changes() -> None:
    changes = np.where((TIMES > 12) & (TIMES < 27), 2.0, 0.0)
    assert [each[:2] for each in found(bump((10, 30, 0.9)), changes=changes, snap=0.2)] == [(12.0, 27.0)]
    assert [each[:2] for each in found(bump((10, 30, 0.9)), changes=changes, snap=0.05)] == [(10.0, 29.0)]
    steady = np.full(60, 3.0) + np.arange(60) % 2
    assert [each[:2] for each in found(bump((10, 30, 0.9)), changes=steady, snap=0.2)] == [(10.0, 30.0)]


@pytest.mark.parametrize(
    ("cuts", "expected"),
    [
        ((), [(10.0, 30.0)]),
        ((20,), [(10.0, 20.0), (20.0, 30.0)]),
        ((10,), [(10.0, 30.0)]),
        ((8, 31, 40), [(10.0, 30.0)]),
    ],
)
def test_no_segment_crosses_a_cut(cuts: tuple[int, ...], expected: list[tuple[float, float]]) -> None:
    assert [each[:2] for each in found(bump((10, 30, 0.9)), cuts=cuts)] == expected


def test_ends_stay_in_their_shot() -> None:
    changes = np.where(TIMES > 15, 2.0, 0.0)
    for cuts, starts in (((), [15.0]), ((20,), [15.0, 20.0])):
        assert [each[0] for each in found(bump((10, 30, 0.9)), cuts=cuts, changes=changes, snap=0.9)] == starts


def test_what_falls_from_a_cut_on_is_of_the_other_shot() -> None:
    curve = bump((10, 20, 0.9))
    curve[20:24] = [0.8, 0.7, 0.6, 0.5]
    assert [each[:2] for each in found(curve, cuts=(20,))] == [(10.0, 20.0)]
    curve[22] = 0.95  # a peak of its own
    assert [round(each[0]) for each in found(curve, cuts=(20,))] == [10, 20]


def test_cuts_are_outliers_among_those_before() -> None:
    distances = 0.1 + 0.02 * np.random.default_rng(0).random(300)
    distances[[50, 51, 200]] = 0.9
    assert find_cuts(distances, 0.4).tolist() == [50, 51, 200]
    assert find_cuts(distances, 0.0).tolist() == []
    shaky = 0.1 + 0.4 * np.random.default_rng(1).random(300)
    shaky[[100, 200]] = 0.9
    assert [step for step in find_cuts(shaky, 0.4) if step > 8] == []


def test_curves_run_straight_between_windows() -> None:
    starts, lengths = np.array([0, 4, 8]), np.zeros(3, int)
    windows = Windows(np.arange(12), np.arange(12) + 0.5, 1.0, (np.arange(4),), (4,), starts, lengths)
    scores = np.array([[0.0], [0.8], [0.4]], np.float32)
    (curve,) = length_curves(windows, scores, SETTINGS)
    np.testing.assert_allclose(curve[:, 0], np.interp(np.arange(12), [1.5, 5.5, 9.5], [0, 0.8, 0.4]), atol=1e-6)
    (smooth,) = length_curves(windows, scores, replace(SETTINGS, smooth=0.75))  # three windows
    np.testing.assert_allclose(smooth[[1, 5, 9], 0], [0.4, 0.4, 0.575], atol=1e-6)
    assert find_segments(np.zeros((1, 0, 1)), np.empty(0), np.empty(0), 0.0, ("a",), SETTINGS) == ()
    assert Segment(0.0, 1.0, "a", 0.5).label == "a"
