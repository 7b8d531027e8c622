"""From scores of windows to segments.

Axes: N steps of the grid, W windows, L lengths, K classes.
"""

from collections.abc import Iterator

import numpy as np

from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.table import Segment
from vitaclip.moments.windows import Windows


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
    curves: np.ndarray, times: np.ndarray, duration_s: float, names: tuple[str, ...], config: MomentsConfig
) -> tuple[Segment, ...]:
    """Segments of all classes, from curves (L, N, K) at times (N,).

    Around each place where a class is most likely, a segment reaches to where its curve falls below the fraction
    `edge` of that; between two steps the curve runs straight, so that times are finer than steps. Those of all lengths
    are merged and suppressed as the settings say.
    """
    gap = config.merge_s or min(config.lengths_s) / 4
    found = list[Segment]()
    for k in np.flatnonzero(curves.max(axis=(0, 1)) >= config.threshold):
        spans = [_merge([*_runs(curve[:, k], times, duration_s, config)], gap) for curve in curves]
        best = _suppress([span for some in spans for span in some], config.overlap)
        found += [Segment(start, end, names[k], score) for start, end, score in best]
    return tuple(sorted(found, key=lambda each: (each.start_s, each.label)))


Span = tuple[float, float, float]
"""Start, end, score."""


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
    """The spans of one class without those that lie mostly in a better one, or the other way round."""
    kept = list[Span]()
    for start, end, score in sorted(spans, key=lambda span: (-span[2], span)):
        shared = (
            (min(end, other[1]) - max(start, other[0])) / max(1e-9, min(end - start, other[1] - other[0]))
            for other in kept
        )
        if all(share <= overlap for share in shared):
            kept.append((start, end, score))
    return kept
