"""How well the segments found in videos meet the true ones: detection of classes, and retrieval by queries.

Axes: n predicted segments, m true ones, I thresholds of the intersection over union (IoU) of two stretches of time.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from vitaclip.moments.table import Segment

ACTIVITYNET_IOUS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.5, 0.55, ... 0.95; QVHighlights has the same."""
THUMOS_IOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
QVHIGHLIGHTS_WINDOWS = 10
"""Of a query the surest windows count, as many as QVHighlights' evaluator reads."""

SegmentsOf = Mapping[str, Sequence[Segment]]
"""The segments of each video, by its name."""


def temporal_iou(segments: Sequence[Segment], others: Sequence[Segment]) -> np.ndarray:
    """(n, m) length that two segments share over the length that they cover together; 0 for empty ones.

    >>> temporal_iou([Segment(0, 10, "a", 1)], [Segment(5, 15, "a", 1), Segment(10, 20, "a", 1)]).round(3).tolist()
    [[0.333, 0.0]]
    """
    both = (segments, others)
    (a, b), (c, d) = (np.array([(each.start_s, each.end_s) for each in some]).reshape(-1, 2).T for some in both)
    shared = np.maximum(np.minimum(b[:, None], d) - np.maximum(a[:, None], c), 0)
    together = (b - a)[:, None] + (d - c) - shared
    return shared / np.where(together > 0, together, 1)


def evaluate_detection(truth: SegmentsOf, predicted: SegmentsOf, ious: Sequence[float]) -> dict[str, float]:
    """Mean average precision of temporal detection, at each IoU and their mean `mAP`, in [0, 1].

    Of each class, the segments predicted in all videos are taken surest first. One is correct at an IoU if it has at
    least that with a true segment of its class and video that none before it found; of several it takes the one of the
    highest IoU. AP is the area below precision over recall, where the precision at a recall is the best that is reached
    there or beyond. mAP is the mean over the classes of the truth; predictions of other classes do not count. This is
    the definition of ActivityNet's evaluator (Caba Heilbron et al., CVPR 2015), with which results on THUMOS'14 are
    computed too, at `THUMOS_IOUS`. Of equal scores the segment that is listed first comes first.

    >>> found = {"a": [Segment(0, 10, "run", 0.9), Segment(20, 30, "run", 0.8), Segment(41, 50, "run", 0.7)]}
    >>> evaluate_detection({"a": [Segment(0, 10, "run", 1), Segment(40, 50, "run", 1)]}, found, [0.5, 0.95])
    {'mAP@0.5': 0.8333333333333333, 'mAP@0.95': 0.5, 'mAP': 0.6666666666666666}
    """
    true, found = _by_class(truth), _by_class(predicted)
    names = sorted({label for _, label in true})
    precisions = [_average_precision(*_hits(_only(true, name), _only(found, name), ious)) for name in names]
    return _means(ious, precisions)


def evaluate_retrieval(truth: SegmentsOf, predicted: SegmentsOf) -> dict[str, float]:
    """How well the moments of queries are found, in [0, 1]; a segment's label is its query.

    `R1@0.5` and `R1@0.7`: the fraction of the queries of a video whose surest segment has at least that IoU with one of
    the true ones. mAP: as in `evaluate_detection`, but AP is computed within each query of each video, of its ten
    surest segments, and the mean is over queries. These are the definitions of QVHighlights' evaluator (Lei et al.,
    NeurIPS 2021), except that a query for which nothing was found is a miss, where that one stops.

    >>> found = {"a": [Segment(0, 9, "a dog runs", 0.9)], "b": [Segment(0, 9, "it rains", 0.9)]}
    >>> true = {"a": [Segment(0, 10, "a dog runs", 1)], "b": [Segment(4, 10, "it rains", 1)]}
    >>> result = evaluate_retrieval(true, found)
    >>> result["R1@0.5"], result["R1@0.7"], result["mAP"]
    (1.0, 0.5, 0.5)
    """
    everything, precisions, best = _by_class(predicted), [], []
    for query, true in _by_class(truth).items():
        found = sorted(everything.get(query, ()), key=lambda each: -each.score)[:QVHIGHLIGHTS_WINDOWS]
        best.append(temporal_iou(found[:1], true).max(initial=0))
        precisions.append(_average_precision(*_hits({query: true}, {query: found}, ACTIVITYNET_IOUS)))
    recalls = {f"R1@{iou:g}": float(np.mean(np.array(best) >= iou)) for iou in (0.5, 0.7)}
    return recalls | _means(ACTIVITYNET_IOUS, precisions)


def false_alarms_per_hour(
    truth: SegmentsOf, predicted: SegmentsOf, hours: float, recall: float = 0.95, iou: float = 0.5
) -> float:
    """Predicted segments that are wrong in an hour of video, where scores are cut so that `recall` of the true segments
    of all classes together are found; infinite if the predictions never find so many.

    >>> found = {"a": [Segment(0, 10, "run", 0.9), Segment(20, 30, "run", 0.8), Segment(41, 50, "run", 0.7)]}
    >>> false_alarms_per_hour({"a": [Segment(0, 10, "run", 1), Segment(40, 50, "run", 1)]}, found, hours=0.5)
    2.0
    """
    hits, total = _hits(_by_class(truth), _by_class(predicted), [iou])
    enough = np.flatnonzero(hits[:, 0].cumsum() >= math.ceil(recall * total))
    return float((~hits[: enough[0] + 1, 0]).sum()) / hours if len(enough) else math.inf


_ByClass = dict[tuple[str, str], list[Segment]]
"""Segments by video and label."""


def _by_class(segments: SegmentsOf) -> _ByClass:
    groups = _ByClass()
    for video, some in segments.items():
        for each in some:
            groups.setdefault((video, each.label), []).append(each)
    return groups


def _only(groups: _ByClass, label: str) -> _ByClass:
    return {key: some for key, some in groups.items() if key[1] == label}


def _hits(truth: _ByClass, predicted: _ByClass, ious: Sequence[float]) -> tuple[np.ndarray, int]:
    """Which predictions, the surest first, are correct, bool (n, I), and how many segments there were to find."""
    ranked = [
        (each.score, key, row)
        for key, some in predicted.items()
        for each, row in zip(some, temporal_iou(some, truth.get(key, ())), strict=True)
    ]
    ranked.sort(key=lambda each: -each[0])
    free = {key: np.ones((len(true), len(ious)), bool) for key, true in truth.items()}
    hits = np.zeros((len(ranked), len(ious)), bool)
    for n, (_, key, row) in enumerate(ranked):
        for best in row.argsort(kind="stable")[::-1]:
            taken = free[key][best] & (row[best] >= ious) & ~hits[n]
            hits[n] |= taken
            free[key][best] &= ~taken
    return hits, sum(map(len, truth.values()))


def _average_precision(hits: np.ndarray, total: int) -> np.ndarray:
    """(I,) area below precision over recall; see `evaluate_detection`."""
    precision = hits.cumsum(axis=0) / np.arange(1, len(hits) + 1)[:, None]
    best_beyond = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    return (best_beyond * hits).sum(axis=0) / total


def _means(ious: Sequence[float], precisions: Sequence[np.ndarray]) -> dict[str, float]:
    """The means of (I,) precisions at each IoU, and the mean of these."""
    means = np.mean(precisions, axis=0)
    return {f"mAP@{iou:g}": float(mean) for iou, mean in zip(ious, means, strict=True)} | {"mAP": float(means.mean())}
