"""From scores of windows to segments.

Axes: N steps of the grid, W windows, L lengths, K classes.
"""

import math
from collections.abc import Iterator

import numpy as np

from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.table import Segment
from vitaclip.moments.windows import Windows

_STILL = 0.02
"""Grey levels by which the pixels of a still picture change at most, in the mean, when it is stored."""
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


def find_segments(
    curves: np.ndarray,
    times: np.ndarray,
    changes: np.ndarray,
    duration_s: float,
    names: tuple[str, ...],
    config: MomentsConfig,
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
    """
    gap, found = config.merge_s or min(config.lengths_s) / 4, list[Segment]()
    borders = _Borders(times, changes, duration_s, config.snap)
    for k in np.flatnonzero(curves.max(axis=(0, 1), initial=0) >= config.threshold):
        spans = [span for curve in curves for span in _merge([*_runs(curve[:, k], times, duration_s, config)], gap)]
        rated = []
        for start, end in (borders.snap(start, end) for start, end, _ in spans):
            inside = (times >= start) & (times <= end)
            inside[np.abs(times - (start + end) / 2).argmin()] = True
            rated.append((start, end, float(curves[:, inside, k].mean())))
        found += [Segment(start, end, names[k], score) for start, end, score in _suppress(rated, config.overlap)]
    return tuple(sorted(found, key=lambda each: (each.start_s, each.label)))


Span = tuple[float, float, float]
"""Start, end, score."""


class _Borders:
    """Where the picture starts and stops to change."""

    def __init__(self, times: np.ndarray, changes: np.ndarray, duration_s: float, reach: float) -> None:
        self._edges = np.concatenate([[0.0], (times[1:] + times[:-1]) / 2, [duration_s]])
        known = np.append(changes[1:2], changes[1:])  # nothing is known of what was before the first step
        self._sums = np.append(0.0, np.cumsum(np.log(known + _STILL)))
        self._reach = reach

    def snap(self, start: float, end: float) -> tuple[float, float]:
        """Both ends, moved by at most the fraction `reach` of the length."""
        moved = self._move(start, end - start, 1), self._move(end, end - start, -1)
        return moved if moved[0] < moved[1] else (start, end)

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


def _runs(curve: np.ndarray, times: np.ndarray, duration_s: float, config: MomentsConfig) -> Iterator[Span]:
    """The spans of one curve (N,), the highest first; none reaches into one before."""
    free = np.ones(len(curve), bool)
    while (peak := int(np.where(free, curve, -1).argmax())) >= 0 and free[peak] and curve[peak] >= config.threshold:
        level = config.edge * float(curve[peak])
        inside = free & (curve >= level)
        low = peak - int(np.argmin(inside[peak::-1])) if not inside[: peak + 1].all() else -1
        high = peak + int(np.argmin(inside[peak:])) if not inside[peak:].all() else len(curve)
        start = 0.0 if low < 0 else _crossing(curve, times, low, low + 1, level)
        end = duration_s if high == len(curve) else _crossing(curve, times, high - 1, high, level)
        free[low + 1 : high] = False
        yield start, end, float(curve[peak])


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
