"""From scores of windows to segments.

Axes: N steps of the grid, W windows, L lengths, K classes.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.table import Segment
from vitaclip.moments.windows import Windows

_STILL = 0.3
"""Grey levels by which the parts of a still picture change, when it is stored: less cannot be told from nothing."""
_MOVES, _NOISE_TIMES, _MOST_NOISE = 0.6, 3.0, 1.0
"""Grey levels from which on a part of a clean picture moves; in a noisy one, from so many times the change of its
median part on, which is noise up to so many grey levels, and beyond it the camera that moves."""
CUTS_AMONG, _CUT, _OUTLIER = 64, 0.5, 6.0
_CLEAR, _CLEARER = 0.25, 3.0
"""The change of a clear border grows by a factor of e to the power of this, and by so many robust deviations."""
_SURE = 0.01
"""A window's score counts as so far from 0 and 1 at least: none alone decides on a segment."""


def length_curves(
    windows: Windows, scores: np.ndarray, config: MomentsConfig, cuts: Sequence[int] | np.ndarray = ()
) -> np.ndarray:
    """(L, N, K) float32: how likely each class is around each step, by windows of each length: the score of a window,
    averaged with its neighbours', counts for its centre, and between two centres scores run straight. A window that
    crosses a cut, which is given by the step behind it, shows two things and does not count; where no window of a
    length does, its curve is 0. Scores (W or fewer, K) of a pass that ended early count up to its last window."""
    steps, found = np.arange(len(windows.numbers)), []
    shots, width = np.searchsorted(cuts, steps, side="right"), round(config.smooth / config.hop)
    for length, span in enumerate(windows.spans):
        rows = np.flatnonzero(windows.lengths[: len(scores)] == length)
        rows = rows[shots[windows.starts[rows]] == shots[windows.starts[rows] + span - 1]]
        if not len(rows):
            found.append(np.zeros((len(steps), scores.shape[1]), np.float32))
            continue
        shot = shots[windows.starts[rows]]
        centres, values = windows.starts[rows] + (span - 1) / 2, scores[rows]
        if width > 1:
            sums, places = np.cumsum(np.pad(values, ((1, 0), (0, 0))), axis=0, dtype=np.float64), np.arange(len(rows))
            low = np.maximum(places - (width - 1) // 2, np.searchsorted(shot, shot))
            high = np.minimum(places + width // 2 + 1, np.searchsorted(shot, shot, side="right"))
            values = ((sums[high] - sums[low]) / (high - low)[:, None]).astype(np.float32)
        first, stop = np.searchsorted(shot, shots), np.searchsorted(shot, shots, side="right")
        behind = np.searchsorted(centres, steps)
        left, right = (np.clip(at, first, stop - 1).clip(0, len(rows) - 1) for at in (behind - 1, behind))
        along = ((steps - centres[left]) / np.maximum(centres[right] - centres[left], 1e-9)).clip(0, 1)[:, None]
        curve = values[left] * (1 - along) + values[right] * along
        found.append(np.where((first < stop)[:, None], curve, 0).astype(np.float32))
    return np.stack(found)


def find_cuts(distances: np.ndarray, apart: int) -> np.ndarray:
    """Ascending numbers of the steps (N,) that begin a shot: their distance from the step before is more than half a
    grey level and six robust deviations (of Gauss' law, by the median of absolute deviations) above the median of the
    64 distances before. Shots that follow each other faster than `apart` steps hold no window, and their cuts do not
    count, but for those less than `apart` steps behind a longer shot: a cross-fade is many cuts. What follows does not
    count, so that a live video has the same cuts.

    >>> find_cuts(np.array([0, 0.1, 0.12, 0.1, 0.9, 0.1]), 2).tolist()
    [4]
    """
    found = [0]
    for step in np.flatnonzero(distances[1:] > _CUT) + 1:
        before = distances[max(0, step - CUTS_AMONG) : step]
        middle = np.median(before)
        spread = np.median(np.abs(before - middle))
        if distances[step] > middle + _CUT + _OUTLIER * 1.4826 * spread:
            found.append(int(step))
    cuts = np.array(found[1:], np.int64)
    ends = cuts[np.diff(found) >= apart]  # of long shots
    behind = np.searchsorted(ends, cuts, side="right") - 1
    return cuts[(behind >= 0) & (cuts - np.append(ends, 0)[behind] < apart)]


def find_segments(
    windows: Windows,
    scores: np.ndarray,
    changes: np.ndarray,
    duration_s: float,
    names: tuple[str, ...],
    config: MomentsConfig,
    *,
    exclusive: bool = True,
) -> tuple[tuple[Segment, ...], np.ndarray]:
    """Segments of all classes, and the curves (N, K) behind them: of each class the highest of its windows' lengths.

    Around each place where a class is most likely by one length of windows, a segment reaches to where its curve falls
    below the fraction `edge` of that; between two steps the curve runs straight, so that times are finer than steps.
    Its ends then move to where the picture starts and stops to change. Of segments of a class that overlap, that with
    the most evidence stays: the mean in it of the curves of all lengths, because what only one of them sees is
    doubtful, times the root of the duration, as of a sum of as many independent scores over its deviation. Its score is
    then what its windows say together: the mean of their log-odds, weighted by their IoU with it. Segments of a class
    that meet at a cut are one. Of classes that exclude each other, one can only have what those with more evidence
    leave of the time that they share: its score is times 1 - their score, for that part of it.

    Args:
        windows: of N steps.
        scores: (W or fewer, K) of the windows.
        changes: (N or fewer, 2) how the picture changes from step to step, see `FrameRing.add`; of a pass that ended
            early.
        duration_s: where the video, or what was seen of it, ends.
        names: the K classes.
        config: how.
        exclusive: the scores of a window are probabilities of classes of which one at most happens.
    """
    times = windows.times[: len(changes)]
    cuts = find_cuts(changes[:, 1], min(windows.spans)) if config.shots else np.empty(0, np.int64)
    curves = length_curves(windows, scores, config, cuts)[:, : len(times)]
    timeline, found = _Timeline(windows, changes, duration_s, cuts, config), list[Segment]()
    for k in np.flatnonzero(curves.max(axis=(0, 1), initial=0) >= config.threshold):
        parts = list[Span]()
        for shot in itertools.pairwise([0, *map(int, cuts), len(times)]):
            spans = [timeline.snap(*span, shot) for curve in curves for span in timeline.runs(curve[:, k], shot)]
            rated = [(*span, float(curves[:, timeline.steps(*span), k].mean())) for span in spans]
            parts += [(a, b, timeline.rate(a, b, shot, scores[:, k])) for a, b, _ in _suppress(rated, config.overlap)]
        found += [Segment(start, end, names[k], score) for start, end, score in _join(parts)]
    found = _share(found) if exclusive else found
    found = sorted((each for each in found if each.score > 0), key=lambda each: (each.start_s, each.label))
    return tuple(found), curves.max(axis=0, initial=0)


Span = tuple[float, float, float]
"""Start, end, score."""
Shot = tuple[int, int]
"""The first step of a stretch without a cut, and the step behind its last one."""


class _Timeline:
    """Where the picture starts and stops to change, and what that makes of scores."""

    def __init__(
        self, windows: Windows, changes: np.ndarray, duration_s: float, cuts: np.ndarray, config: MomentsConfig
    ) -> None:
        times = windows.times[: len(changes)]
        self._times, self._config, self._starts, self._ends = times, config, windows.starts, windows.ends
        self._longest = max(windows.spans)
        self._edges = np.concatenate([[0.0], (times[1:] + times[:-1]) / 2, [duration_s]])
        kept = np.setdiff1d(np.arange(1, len(times)), cuts)  # nothing is known of what was before the first step
        behind = np.searchsorted(kept, np.arange(len(times))).clip(0, max(0, len(kept) - 1))
        # A cut is no motion: there counts that of the step behind.
        self._changes = changes[kept[behind] if len(kept) else slice(None), 0]
        self._sums = np.append(0.0, np.cumsum(np.log(self._changes + _STILL)))
        self._rises = dict[int, tuple[np.ndarray, float]]()
        noise = min(_MOST_NOISE, float(np.quantile(changes[:, 1], 0.25))) if len(changes) else 0.0
        self._moves = self._changes > max(_MOVES, _NOISE_TIMES * noise)

    def runs(self, curve: np.ndarray, shot: Shot) -> list[tuple[float, float]]:
        """Start and end of what a curve (N,) shows in a shot; those with a small gap between them are one."""
        gap, merged = self._config.merge_s or min(self._config.lengths_s) / 4, list[tuple[float, float]]()
        for start, end in sorted(self._peaks(curve, *shot)):
            if merged and start - merged[-1][1] <= gap:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((start, end))
        return merged

    def _peaks(self, curve: np.ndarray, first: int, stop: int) -> Iterator[tuple[float, float]]:
        """The stretches around the peaks of a curve, the highest first; none reaches into one before."""
        times, part = self._times[first:stop], curve[first:stop]
        free, least = np.ones(len(part), bool), self._config.threshold
        while (peak := int(np.where(free, part, -1).argmax())) >= 0 and free[peak] and part[peak] >= least:
            level = self._config.edge * float(part[peak])
            inside = free & (part >= level)
            low = peak - int(np.argmin(inside[peak::-1])) if not inside[: peak + 1].all() else -1
            high = peak + int(np.argmin(inside[peak:])) if not inside[peak:].all() else len(part)
            start = float(self._edges[first]) if low < 0 else _crossing(part, times, low, low + 1, level)
            end = float(self._edges[stop]) if high == len(part) else _crossing(part, times, high - 1, high, level)
            free[low + 1 : high] = False
            yield start, end

    def snap(self, start: float, end: float, shot: Shot) -> tuple[float, float]:
        """Both ends, moved within a shot by at most `snap` times the length."""
        moved = self._move(start, end - start, 1, shot), self._move(end, end - start, -1, shot)
        return moved if moved[0] < moved[1] else (start, end)

    def _move(self, at: float, length: float, sign: int, shot: Shot) -> float:
        """The place near `at` with the largest rise (or fall, by `sign`) of the mean logarithm of the change from the
        steps before to those behind it, if that is a clear one. A rise counts less by its distance, half of it a length
        away, so that the nearest of several clear ones is taken and one far off must be very clear. What is clear is
        measured in the video: a camera that is moved by hand has rises all the time."""
        reach = self._config.snap * length
        low, high = np.searchsorted(self._edges[shot[0] : shot[1] + 1], (at - reach, at + reach)) + shot[0]
        count = max(2, round(len(self._edges) * length / self._edges[-1] / 8))
        places = np.arange(max(low, count), min(high, len(self._sums) - count))
        if not len(places):
            return at
        rises, clear = self._rises_by(count)
        rise = sign * rises[places - count] / (1 + np.abs(self._edges[places] - at) / length)
        return float(self._edges[places[rise.argmax()]]) if rise.max() > clear else at

    def _rises_by(self, count: int) -> tuple[np.ndarray, float]:
        """The rises at all places from `count` on, and how large a clear one is. The quarter of all places with the
        least rises says how large they are by chance (of Gauss' law): few other places are borders."""
        if count not in self._rises:
            sums = self._sums
            rises = (sums[2 * count :] - 2 * sums[count:-count] + sums[: -2 * count]) / count
            chance = float(np.quantile(np.abs(rises), 0.25)) / 0.3186
            self._rises[count] = rises, max(_CLEAR, _CLEARER * chance)
        return self._rises[count]

    def steps(self, start: float, end: float) -> slice:
        """The steps in a stretch, or the one behind its start."""
        first = min(int(np.searchsorted(self._times, start)), len(self._times) - 1)
        return slice(first, max(first + 1, int(np.searchsorted(self._times, end, side="right"))))

    def rate(self, start: float, end: float, shot: Shot, scores: np.ndarray) -> float:
        """The score of a stretch of a shot, by those (W or fewer,) of the windows of one class."""
        inside = self.steps(start, end)
        reach = max(shot[0], inside.start - 1), min(shot[1], inside.stop + self._longest)
        low, high = np.searchsorted(self._ends[: len(scores)], reach, side="right")
        near = low + np.flatnonzero(self._starts[low:high] >= shot[0])
        starts, ends = self._edges[self._starts[near]], self._edges[self._ends[near]]
        shared = (np.minimum(ends, end) - np.maximum(starts, start)).clip(0)
        likeness, odds = shared / (ends - starts + end - start - shared), scores[near].clip(_SURE, 1 - _SURE)
        if not likeness.any():
            return 0.0
        moving = self._moves[inside].mean() if self._config.motion else 1.0
        return float(moving / (1 + np.exp(-np.average(np.log(odds / (1 - odds)), weights=likeness))))


def _crossing(curve: np.ndarray, times: np.ndarray, left: int, right: int, level: float) -> float:
    """Where the curve is at `level` between two steps, or, if it is not, half-way."""
    rise = float(curve[right] - curve[left])
    share = (level - float(curve[left])) / rise if rise else 0.5
    return float(times[left] + min(max(share, 0.0), 1.0) * (times[right] - times[left]))


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


def _join(spans: list[Span]) -> list[Span]:
    """The spans of one class, those that meet as one, with the mean score over its time."""
    joined = list[Span]()
    for start, end, score in sorted(spans):
        if joined and joined[-1][1] == start:
            first, _, before = joined.pop()
            start, score = first, (before * (start - first) + score * (end - start)) / (end - first)
        joined.append((start, end, score))
    return joined


def _share(found: list[Segment]) -> list[Segment]:
    """The segments of classes that exclude each other, with less score where others have more evidence."""
    found = sorted(found, key=lambda each: (-each.score * math.sqrt(each.end_s - each.start_s), each.start_s))
    starts, ends, scores = np.array([(each.start_s, each.end_s, each.score) for each in found]).reshape(-1, 3).T.copy()
    labels = np.array([each.label for each in found])
    for n in range(1, len(found)):
        shared = (np.minimum(ends[:n], ends[n]) - np.maximum(starts[:n], starts[n])).clip(0)
        others = scores[:n] * (labels[:n] != labels[n])
        scores[n] *= np.prod(1 - others * shared / max(1e-9, ends[n] - starts[n]))
    return [replace(each, score=float(score)) for each, score in zip(found, scores, strict=True)]
