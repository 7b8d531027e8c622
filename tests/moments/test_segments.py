"""From scores of windows to segments: curves, ends, merging, suppression."""

import math
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


def windows_of(starts: np.ndarray, spans: tuple[int, ...], lengths: np.ndarray) -> Windows:
    """Windows over 60 steps of a second, by their first steps and the numbers of their lengths."""
    order = np.lexsort((lengths, starts + np.array(spans)[lengths]))
    offsets = tuple(np.arange(span) for span in spans)
    return Windows(np.arange(60), TIMES, 1.0, offsets, spans, starts[order], lengths[order])


def found(
    *curves: np.ndarray,
    changes: np.ndarray | None = None,
    cuts: tuple[int, ...] = (),
    exclusive: bool = False,
    **values: float,
) -> list[tuple[float, float, str, float]]:
    """The segments of curves (60,) or (60, K), one of each length: each step is a window."""
    scores = np.stack([curve.reshape(60, -1) for curve in curves], axis=1).reshape(60 * len(curves), -1)
    windows = windows_of(
        np.repeat(np.arange(60), len(curves)), (1,) * len(curves), np.arange(len(scores)) % len(curves)
    )
    both = np.stack([np.zeros(60) if changes is None else changes, np.isin(np.arange(60), cuts)], axis=1)
    settings = replace(SETTINGS, **values)  # type: ignore[arg-type]
    segments, _ = find_segments(windows, scores, both, 60.0, ("run", "jump"), settings, exclusive=exclusive)
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
        ((20,), [(10.0, 30.0)]),
        ((8, 31, 40), [(10.0, 30.0)]),
    ],
)
def test_segments_that_meet_at_a_cut_are_one(cuts: tuple[int, ...], expected: list[tuple[float, float]]) -> None:
    assert [each[:2] for each in found(bump((10, 30, 0.9)), cuts=cuts)] == expected


def test_a_segment_that_a_cut_ends_is_alone() -> None:
    curve = bump((10, 20, 0.9), (20, 30, 0.3))
    assert found(curve, cuts=(20,)) == [(10.0, 20.0, "run", 0.9)]
    assert found(curve, threshold=0.1, cuts=(20,)) == [(10.0, 30.0, "run", 0.6)]


def test_ends_stay_in_their_shot() -> None:
    changes = np.where(TIMES > 15, 2.0, 0.0)
    for cuts, starts in (((), [15.0]), ((20,), [22.0])):
        assert [each[0] for each in found(bump((22, 30, 0.9)), cuts=cuts, changes=changes, snap=0.9)] == starts


def test_ends_stay_where_the_picture_changes_by_chance() -> None:
    changes = 10 * np.exp(0.5 * np.random.default_rng(0).standard_normal(60))
    assert [each[:2] for each in found(bump((20, 30, 0.9)), changes=changes, snap=3.0)] == [(20.0, 30.0)]
    changes[22:36] *= 50
    assert [each[:2] for each in found(bump((20, 30, 0.9)), changes=changes, snap=3.0)] == [(22.0, 36.0)]


def test_the_nearest_clear_change_ends_a_segment() -> None:
    changes = np.where(((TIMES > 8) & (TIMES < 24)) | ((TIMES > 34) & (TIMES < 50)), 2.0, 0.0)
    assert [each[:2] for each in found(bump((10, 15, 0.9)), changes=changes, snap=3.0)] == [(8.0, 24.0)]
    changes[30] = 9.0  # a cut is not a motion that stops
    assert [each[:2] for each in found(bump((10, 15, 0.9)), changes=changes, cuts=(30,), snap=3.0)] == [(8.0, 24.0)]


def test_windows_across_a_cut_do_not_count() -> None:
    windows = windows_of(np.arange(57), (4,), np.zeros(57, int))
    scores = np.where(np.arange(57) < 18, 0.2, 0.8)[:, None].astype(np.float32)
    scores[17:20] = 1.0  # those that cross the cut before step 20
    for smooth in (0.0, 1.0):
        (curve,) = length_curves(windows, scores, replace(SETTINGS, smooth=smooth), (20, 22))
        assert curve[:20, 0] == pytest.approx(0.2)
        assert not curve[20:22].any()  # no window is as short as that
        assert curve[22:, 0] == pytest.approx(0.8)


def test_log_odds_of_windows_rate_a_segment() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 3, 80)
    spans = np.array([3, 6, 12])
    windows = windows_of(rng.integers(0, 48, 80), (3, 6, 12), lengths)
    scores = rng.random((80, 1)).astype(np.float32)
    noise = 0.25
    both = np.stack([2 * rng.random(60), np.full(60, noise)], axis=1)
    settings = replace(SETTINGS, motion=True)
    segments, curves = find_segments(windows, scores, both, 60.0, ("run",), settings)
    assert curves.shape == (60, 1)
    assert len(segments) > 2
    for each in segments:
        total = weights = 0.0
        for start, length, score in zip(windows.starts, windows.lengths, scores[:, 0], strict=True):
            end = start + spans[length]
            shared = max(0.0, min(end, each.end_s) - max(start, each.start_s))
            weight, sure = shared / (max(end, each.end_s) - min(start, each.start_s)), min(max(score, 0.01), 0.99)
            total, weights = total + weight * math.log(sure / (1 - sure)), weights + weight
        inside = (each.start_s <= TIMES) & (each.end_s >= TIMES)
        moving = np.append(both[1, 0], both[1:, 0])[inside] > max(0.6, 3 * noise)
        assert each.score == pytest.approx(moving.mean() / (1 + math.exp(-total / weights)), rel=1e-5)


def test_a_class_has_what_a_surer_one_leaves() -> None:
    curves = np.stack([bump((20, 30, 0.6)), bump((10, 40, 0.9))], axis=1)
    assert found(curves, exclusive=True) == [(10.0, 40.0, "jump", 0.9), (20.0, 30.0, "run", 0.06)]
    curves = np.stack([bump((35, 45, 0.6)), bump((10, 40, 0.9))], axis=1)
    assert found(curves, exclusive=True) == [(10.0, 40.0, "jump", 0.9), (35.0, 45.0, "run", 0.33)]


def test_cuts_are_outliers_among_those_before() -> None:
    distances = 0.1 + 0.02 * np.random.default_rng(0).random(300)
    distances[[50, 51, 200]] = 0.9
    assert find_cuts(distances, 10).tolist() == [50, 51, 200]
    shaky = 5 + 4 * np.random.default_rng(1).random(300)
    shaky[[100, 200]] = 30
    assert find_cuts(shaky, 10).tolist() == [100, 200]


def test_cuts_faster_than_windows_do_not_count() -> None:
    fast, fade = np.isin(np.arange(200), range(0, 200, 8)), np.isin(np.arange(200), range(100, 106))
    assert find_cuts(2.0 * fast, 10).tolist() == []
    assert find_cuts(2.0 * fast, 8).tolist() == [*range(8, 200, 8)]
    assert find_cuts(2.0 * fade, 10).tolist() == [*range(100, 106)]


def test_curves_run_straight_between_windows() -> None:
    starts, lengths = np.array([0, 4, 8]), np.zeros(3, int)
    windows = Windows(np.arange(12), np.arange(12) + 0.5, 1.0, (np.arange(4),), (4,), starts, lengths)
    scores = np.array([[0.0], [0.8], [0.4]], np.float32)
    (curve,) = length_curves(windows, scores, SETTINGS)
    np.testing.assert_allclose(curve[:, 0], np.interp(np.arange(12), [1.5, 5.5, 9.5], [0, 0.8, 0.4]), atol=1e-6)
    (smooth,) = length_curves(windows, scores, replace(SETTINGS, smooth=0.75))  # three windows
    np.testing.assert_allclose(smooth[[1, 5, 9], 0], [0.4, 0.4, 0.575], atol=1e-6)
    nothing, curves = find_segments(windows, scores[:0], np.empty((0, 2)), 0.0, ("a",), SETTINGS)
    assert (nothing, curves.shape) == ((), (0, 1))
    assert Segment(0.0, 1.0, "a", 0.5).label == "a"
