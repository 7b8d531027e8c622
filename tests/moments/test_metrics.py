"""The figures of detection and retrieval, by hand, by brute force, and as scikit-learn has them where it can."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from vitaclip.moments.metrics import (
    ACTIVITYNET_IOUS,
    SegmentsOf,
    evaluate_detection,
    evaluate_retrieval,
    false_alarms_per_hour,
    temporal_iou,
)
from vitaclip.moments.table import Segment


def random_segments(rng: np.random.Generator, videos: int, labels: str, count: int) -> dict[str, list[Segment]]:
    """Segments whose scores are all different."""
    scores = iter(rng.permutation(videos * count) / (videos * count))
    starts, lengths = rng.integers(0, 40, (videos, count)), rng.integers(1, 15, (videos, count))
    return {
        f"v{video}": [
            Segment(float(start), float(start + length), str(rng.choice(list(labels))), float(next(scores)))
            for start, length in zip(starts[video], lengths[video], strict=True)
        ]
        for video in range(videos)
    }


def guesses(rng: np.random.Generator, truth: SegmentsOf, labels: str, count: int) -> dict[str, list[Segment]]:
    """Random segments, and the true ones of all but a video moved a little, with higher scores on the whole."""
    found = random_segments(rng, len(truth) + 1, labels, count)
    for video in [*truth][1:]:
        for each in truth[video]:
            start, end = each.start_s + rng.uniform(-2, 2), each.end_s + rng.uniform(0, 3)
            found[video].insert(
                int(rng.integers(count)), Segment(start, max(start, end), each.label, rng.uniform(0.5, 2))
            )
    return found


def overlap(a: Segment, b: Segment) -> float:
    shared = max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s))
    return shared / (a.end_s - a.start_s + b.end_s - b.start_s - shared)


def precision_by_brute_force(true: dict[str, list[Segment]], found: dict[str, list[Segment]], iou: float) -> float:
    """AP of one class, from the words of the definition: for each true segment that some prediction finds, the best
    precision at that recall or beyond."""
    left = {video: list(segments) for video, segments in true.items()}
    total, correct, points = sum(map(len, true.values())), 0, []
    ranked = sorted(((video, each) for video, some in found.items() for each in some), key=lambda it: -it[1].score)
    for seen, (video, each) in enumerate(ranked, 1):
        meeting = [other for other in left.get(video, []) if overlap(each, other) >= iou]
        if meeting:
            left[video].remove(max(meeting, key=lambda other: overlap(each, other)))
            correct += 1
        points.append((correct, correct / seen))
    steps = range(1, total + 1)
    return sum(max((precision for k, precision in points if k >= step), default=0) for step in steps) / total


@pytest.mark.parametrize("seed", range(20))
def test_detection_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = random_segments(rng, 4, "abc", 6)
    found = guesses(rng, truth, "abcd", 20)
    result = evaluate_detection(truth, found, ACTIVITYNET_IOUS)
    labels = {each.label for some in truth.values() for each in some}
    for iou in ACTIVITYNET_IOUS:
        by_class = [precision_by_brute_force(only(truth, label), only(found, label), iou) for label in labels]
        assert result[f"mAP@{iou:g}"] == pytest.approx(np.mean(by_class), abs=1e-12)
    assert result["mAP"] == pytest.approx(np.mean([result[f"mAP@{iou:g}"] for iou in ACTIVITYNET_IOUS]))
    assert 0 < result["mAP@0.5"] < 1


def only(segments: SegmentsOf, label: str) -> dict[str, list[Segment]]:
    return {video: [each for each in some if each.label == label] for video, some in segments.items()}


@pytest.mark.parametrize("seed", range(20))
def test_retrieval_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = random_segments(rng, 6, "abc", 4)
    found = guesses(rng, truth, "abc", 40)
    queries = sorted({(video, each.label) for video, some in truth.items() for each in some})
    first, precisions = [], []
    for video, label in queries:
        true, ranked = only(truth, label)[video], only(found, label).get(video, [])
        ranked = sorted(ranked, key=lambda each: -each.score)[:10]
        first.append(max((overlap(each, other) for each in ranked[:1] for other in true), default=0))
        precisions.append([precision_by_brute_force({"": true}, {"": ranked}, iou) for iou in ACTIVITYNET_IOUS])
    result = evaluate_retrieval(truth, found)
    assert result["R1@0.5"] == pytest.approx(np.mean([best >= 0.5 for best in first]))
    assert result["R1@0.7"] == pytest.approx(np.mean([best >= 0.7 for best in first]))
    assert result["mAP"] == pytest.approx(np.mean(precisions))
    assert result["mAP@0.75"] == pytest.approx(np.mean(precisions, axis=0)[5])
    assert 0 < result["R1@0.7"] <= result["R1@0.5"] < 1


def precision_by_the_evaluators_loop(true: SegmentsOf, found: SegmentsOf, iou: float) -> float:
    """AP of one class as the evaluators of ActivityNet, mmaction2 and QVHighlights go about it: a prediction tries the
    true segments of its video by falling IoU (of equal ones the last of the list first), until one is free or the IoU
    is too small; then precision is made to fall only, and summed where recall rises."""
    ranked = sorted(((video, each) for video, some in found.items() for each in some), key=lambda it: -it[1].score)
    taken, hits = set[tuple[str, int]](), list[bool]()
    for video, each in ranked:
        meeting = sorted(((overlap(each, other), n) for n, other in enumerate(true.get(video, ()))), reverse=True)
        free = [(video, n) for value, n in meeting if value >= iou and (video, n) not in taken]
        taken |= {*free[:1]}
        hits.append(bool(free))
    precisions = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
    recalls = [0.0] + [sum(hits[: n + 1]) / sum(map(len, true.values())) for n in range(len(hits))]
    return sum((recalls[n + 1] - recalls[n]) * max(precisions[n:]) for n in range(len(hits)))


@pytest.mark.parametrize("seed", range(20))
def test_ties_and_duplicates_are_taken_as_by_the_evaluators(seed: int) -> None:
    """Few places, lengths and scores, so that IoUs and scores are equal and segments come twice; labels that only the
    truth has or only the predictions, videos without either."""
    rng = np.random.default_rng(seed)

    def draw(videos: str, labels: str, count: int) -> dict[str, list[Segment]]:
        rows = [(int(rng.integers(6)) * 2, int(rng.integers(1, 4)) * 2, rng.integers(1, 5) / 4) for _ in range(count)]
        made = [Segment(start, start + length, str(rng.choice([*labels])), score) for start, length, score in rows]
        return {video: [each for each in made if rng.random() < 0.5] for video in videos}

    truth, found = draw("uvw", "abc", 12), draw("vwxy", "bcd", 40)
    found["v"] += found["v"][:5]
    labels = {each.label for some in truth.values() for each in some}
    result = evaluate_detection(truth, found, ACTIVITYNET_IOUS)
    for iou in ACTIVITYNET_IOUS:
        by_class = [precision_by_the_evaluators_loop(only(truth, name), only(found, name), iou) for name in labels]
        assert result[f"mAP@{iou:g}"] == pytest.approx(np.mean(by_class), abs=1e-12)
    queries = sorted({(video, each.label) for video, some in truth.items() for each in some})
    first, precisions = [], []
    for video, label in queries:
        true = only(truth, label)[video]
        ranked = sorted(only(found, label).get(video, []), key=lambda each: -each.score)[:10]
        first.append(max((overlap(each, other) for each in ranked[:1] for other in true), default=0))
        precisions.append(precision_by_the_evaluators_loop({"": true}, {"": ranked}, 0.5))
    retrieved = evaluate_retrieval(truth, found)
    assert retrieved["mAP@0.5"] == pytest.approx(np.mean(precisions), abs=1e-12)
    assert retrieved["R1@0.5"] == pytest.approx(np.mean([best >= 0.5 for best in first]))


def test_iou_equals_counting_of_steps() -> None:
    rng = np.random.default_rng(0)
    some, others = random_segments(rng, 1, "a", 8)["v0"], random_segments(rng, 1, "a", 9)["v0"]
    steps = [{*range(int(each.start_s), int(each.end_s))} for each in (*some, *others)]
    expected = [[len(a & b) / len(a | b) for b in steps[8:]] for a in steps[:8]]
    assert temporal_iou(some, others) == pytest.approx(np.array(expected))


def test_empty_segment_meets_nothing() -> None:
    assert temporal_iou([Segment(3, 3, "a", 1)], [Segment(3, 3, "a", 1), Segment(0, 5, "a", 1)]).tolist() == [[0, 0]]


# By hand: precision is 1, 1/2, 2/3 after the first, second, third prediction; of three true segments two are found.
BY_HAND = (
    {"a": [Segment(0, 10, "run", 1), Segment(20, 30, "run", 1)], "b": [Segment(0, 4, "run", 1)]},
    {"a": [Segment(0, 10, "run", 0.9), Segment(1, 10, "run", 0.8), Segment(20, 29, "run", 0.7)], "c": []},
)


@pytest.mark.parametrize(
    ("ious", "expected"),
    [
        ([0.5], (1 + 2 / 3) / 3),  # the second prediction meets a segment that is taken
        ([0.9], (1 + 2 / 3) / 3),  # 9 of 10 seconds
        ([0.95], 1 / 3),
        ([0.5, 0.95], ((1 + 2 / 3) / 3 + 1 / 3) / 2),
    ],
)
def test_detection_by_hand(ious: Sequence[float], expected: float) -> None:
    assert evaluate_detection(*BY_HAND, ious)["mAP"] == pytest.approx(expected)


def test_class_without_prediction_counts_as_zero() -> None:
    truth = {"a": [Segment(0, 10, "run", 1), Segment(0, 10, "sit", 1)]}
    found = {"a": [Segment(0, 10, "run", 0.5), Segment(0, 10, "fly", 0.9)]}
    assert evaluate_detection(truth, found, [0.5])["mAP"] == 0.5


def test_prediction_takes_the_segment_it_meets_best() -> None:
    truth = {"a": [Segment(0, 10, "run", 1), Segment(3, 12, "run", 1)]}
    found = {"a": [Segment(2, 12, "run", 0.9), Segment(0, 9, "run", 0.8)]}  # the first meets both at 0.5
    assert evaluate_detection(truth, found, [0.5])["mAP"] == 1


def test_query_without_window_is_a_miss() -> None:
    truth = {"a": [Segment(0, 10, "a dog runs", 1)], "b": [Segment(0, 10, "it rains", 1)]}
    result = evaluate_retrieval(truth, {"a": [Segment(0, 10, "a dog runs", 0.3)]})
    assert (result["R1@0.5"], result["mAP"]) == (0.5, 0.5)


@pytest.mark.parametrize(("recall", "expected"), [(0.3, 0.0), (0.6, 2.0), (0.95, math.inf)])
def test_false_alarms_by_hand(recall: float, expected: float) -> None:
    assert false_alarms_per_hour(*BY_HAND, hours=0.5, recall=recall) == expected


def test_false_alarms_of_one_class_are_those_of_another() -> None:
    truth = {"a": [Segment(0, 10, "run", 1)]}
    found = {"a": [Segment(0, 10, "sit", 0.9), Segment(0, 10, "run", 0.8)]}
    assert false_alarms_per_hour(truth, found, hours=1) == 1
