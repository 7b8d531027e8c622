"""From scores of windows to segments.

Axes: N steps of the grid, W windows, L lengths, K classes.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.table import Segment
from vitaclip.moments.windows import Windows

_STILL = 0.02
"""Grey levels by which the pixels of a still picture change at most, in the mean, when it is stored."""
CUTS_AMONG, _OUTLIER = 64, 6.0
_CLEAR = 0.5
"""The change of a clear border grows by a factor of e to the power of this."""


def length_curves(windows: Windows, scores: np.ndarray, config: MomentsConfig) -> np.ndarray:
    """(L, N, K) float32: how likely each class is around each step, by windows of each length: the score of a window
    counts for its centre, and between two centres scores run straight. Scores (W or fewer, K) of a pass that ended
    early count up to its last window."""
    steps, found = np.arange(len(windows.numbers)), []
    for length, span in enumerate(windows.spans):
        rows = np.flatnonzero(windows.lengths[: len(scores)] == length)
        curve = np.zeros((len(steps), scores.shape[1]), np.float32)
        if len(rows):
            centres, values = windows.starts[rows] + (span - 1) / 2, _smooth(scores[rows], config)
            for k in np.flatnonzero(values.max(axis=0) > 0):
                curve[:, k] = np.interp(steps, centres, values[:, k])
        found.append(curve)
    return np.stack(found)


def _smooth(values: np.ndarray, config: MomentsConfig) -> np.ndarray:
    """The mean over neighbouring windows (n, K); at both ends over fewer."""
    width = round(config.smooth / config.hop)
    if width < 2:
        return values
    sums = np.cumsum(np.pad(values, ((1, 0), (0, 0))), axis=0, dtype=np.float64)
    low = np.maximum(np.arange(len(values)) - (width - 1) // 2, 0)
    high = np.minimum(np.arange(len(values)) + width // 2 + 1, len(values))
    return ((sums[high] - sums[low]) / (high - low)[:, None]).astype(np.float32)


def find_cuts(distances: np.ndarray, least: float) -> np.ndarray:
    """Ascending numbers of the steps (N,) that begin a shot: their distance from the step before is at least `least`
    (0: none does), and more than six robust deviations (of Gauss' law, by the median of absolute deviations) above the
    median of the 64 distances before. What follows does not count, so that a live video has the same cuts.

    >>> find_cuts(np.array([0, 0.1, 0.12, 0.1, 0.9, 0.1]), 0.4).tolist()
    [4]
    """
    found = list[int]()
    for step in np.flatnonzero(distances >= least) if least else ():
        before = distances[max(1, step - CUTS_AMONG) : step]
        middle = np.median(before) if len(before) else 0.0
        spread = np.median(np.abs(before - middle)) if len(before) else 0.0
        if distances[step] > middle + _OUTLIER * 1.4826 * spread:
            found.append(int(step))
    return np.array(found, np.int64)


def find_segments(
    curves: np.ndarray,
    times: np.ndarray,
    changes: np.ndarray,
    duration_s: float,
    names: tuple[str, ...],
    config: MomentsConfig,
    cuts: Sequence[int] | np.ndarray = (),
) -> tuple[Segment, ...]:
    """Segments of all classes.

    Around each place where a class is most likely by one length of windows, a segment reaches to where its curve falls
    below the fraction `edge` of that; between two steps the curve runs straight, so that times are finer than steps.
    Its ends then move to where the picture starts and stops to change. Its score is the mean in it of the curves of all
    lengths: what only one of them sees is doubtful. Of segments that overlap, that with the most evidence stays: score
    times the root of the duration, as of a sum of as many independent scores over its deviation.

    Args:
        curves: (L, N, K), see `length_curves`.
        times: (N,) seconds of the steps.
        changes: (N,) how much the picture changes from the step before.
        duration_s: where the video ends.
        names: the K classes.
        config: how.
        cuts: ascending numbers of steps before which the picture is cut; no segment crosses one, and where a curve only
            falls from a cut on, the peak is beyond it.
    """
    gap, found = config.merge_s or min(config.lengths_s) / 4, list[Segment]()
    borders = _Borders(times, changes, duration_s, config.snap)
    shots = [Shot(*steps, *borders.times(*steps)) for steps in itertools.pairwise([0, *map(int, cuts), len(times)])]
    for k in np.flatnonzero(curves.max(axis=(0, 1), initial=0) >= config.threshold):
        rated = list[Span]()
        for shot in shots:
            spans = [span for curve in curves for span in _merge([*_runs(curve[:, k], times, shot, config)], gap)]
            for start, end in (borders.snap(start, end, shot) for start, end, _ in spans):
                inside = (times >= start) & (times <= end)
                inside[np.abs(times - (start + end) / 2).argmin()] = True
                rated.append((start, end, float(curves[:, inside, k].mean())))
        found += [Segment(start, end, names[k], score) for start, end, score in _suppress(rated, config.overlap)]
    return tuple(sorted(found, key=lambda each: (each.start_s, each.label)))


class Shot(NamedTuple):
    """A stretch without a cut."""

    first: int
    """Its first step."""
    stop: int
    """The step behind its last one."""
    start_s: float
    end_s: float


Span = tuple[float, float, float]
"""Start, end, score."""


class _Borders:
    """Where the picture starts and stops to change."""

    def __init__(self, times: np.ndarray, changes: np.ndarray, duration_s: float, reach: float) -> None:
        self._edges = np.concatenate([[0.0], (times[1:] + times[:-1]) / 2, [duration_s]])
        known = np.append(changes[1:2], changes[1:])  # nothing is known of what was before the first step
        self._sums = np.append(0.0, np.cumsum(np.log(known + _STILL)))
        self._reach = reach

    def times(self, first: int, stop: int) -> tuple[float, float]:
        """Where a step begins, and another, in seconds."""
        return float(self._edges[first]), float(self._edges[stop])

    def snap(self, start: float, end: float, shot: Shot) -> tuple[float, float]:
        """Both ends, moved by at most the fraction `reach` of the length, within a shot."""
        moved = self._move(start, end - start, 1), self._move(end, end - start, -1)
        start, end = moved if moved[0] < moved[1] else (start, end)
        return max(start, shot.start_s), min(end, shot.end_s)

    def _move(self, at: float, length: float, sign: int) -> float:
        """The place near `at` with the largest rise (or fall, by `sign`) of the mean logarithm of the change from the
        steps before to those behind it, if that is a clear one; on the way to a larger one further off, the nearest to
        that."""
        low, high = np.searchsorted(self._edges, (at - self._reach * length, at + self._reach * length))
        count = max(2, round(len(self._edges) * length / self._edges[-1] / 4))
        places = np.arange(max(low, count), min(high, len(self._sums) - count))
        if not len(places):
            return at
        before, here, behind = (self._sums[places + shift] for shift in (-count, 0, count))
        rise = sign * (behind - 2 * here + before) / count
        return float(self._edges[places[rise.argmax()]]) if rise.max() > _CLEAR else at


def _runs(curve: np.ndarray, times: np.ndarray, shot: Shot, config: MomentsConfig) -> Iterator[Span]:
    """The spans of one curve (N,) in a shot, the highest first; none reaches into one before."""
    times, part = times[shot.first : shot.stop], curve[shot.first : shot.stop]
    free, before, behind = np.ones(len(part), bool), curve[: shot.first][-1:], curve[shot.stop :][:1]
    while (peak := int(np.where(free, part, -1).argmax())) >= 0 and free[peak] and part[peak] >= config.threshold:
        level = config.edge * float(part[peak])
        inside = free & (part >= level)
        low = peak - int(np.argmin(inside[peak::-1])) if not inside[: peak + 1].all() else -1
        high = peak + int(np.argmin(inside[peak:])) if not inside[peak:].all() else len(part)
        start = shot.start_s if low < 0 else _crossing(part, times, low, low + 1, level)
        end = shot.end_s if high == len(part) else _crossing(part, times, high - 1, high, level)
        free[low + 1 : high] = False
        from_before = peak == 0 and (before > part[peak]).any()
        from_behind = peak == len(part) - 1 and (behind > part[peak]).any()
        if not from_before and not from_behind:
            yield start, end, float(part[peak])


def _crossing(curve: np.ndarray, times: np.ndarray, left: int, right: int, level: float) -> float:
    """Where the curve is at `level` between two steps, or, if it is not, half-way."""
    rise = float(curve[right] - curve[left])
    share = (level - float(curve[left])) / rise if rise else 0.5
    return float(times[left] + min(max(share, 0.0), 1.0) * (times[right] - times[left]))


def _merge(spans: list[Span], gap: float) -> list[Span]:
    """Spans of one class and length, those with less than a gap between them as one."""
    merged = list[Span]()
    for start, end, score in sorted(spans):
        if merged and start - merged[-1][1] <= gap:
            before = merged.pop()
            start, end, score = before[0], max(end, before[1]), max(score, before[2])
        merged.append((start, end, score))
    return merged


def _suppress(spans: list[Span], overlap: float) -> list[Span]:
    """The spans of one class without those that lie mostly in one with more evidence, or the other way round."""
    kept = list[Span]()
    for start, end, score in sorted(spans, key=lambda span: (-span[2] * math.sqrt(span[1] - span[0]), span)):
        shared = (
            (min(end, other[1]) - max(start, other[0])) / max(1e-9, min(end - start, other[1] - other[0]))
            for other in kept
        )
        if all(share <= overlap for share in shared):
            kept.append((start, end, score))
    return kept
