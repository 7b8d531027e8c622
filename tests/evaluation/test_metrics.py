"""Accuracies of videos with several labels against scikit-learn, and the interval of a share against its definition."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from vitaclip.data.labels import label_tensor, multi_hot
from vitaclip.evaluation.metrics import Scores, average_precision, calibration_error, summarize, wilson_interval


@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (11, 11), (3, 11), (950, 1000)])
def test_interval_ends_are_1_96_deviations_off(right: int, count: int) -> None:
    share = right / count
    ends = wilson_interval(share, count)
    assert 0 <= ends[0] <= share <= ends[1] <= 1
    for end in ends:
        if end not in (0, 1):
            assert abs(share - end) / math.sqrt(end * (1 - end) / count) == pytest.approx(1.96, rel=1e-3)
    assert ends[1] - ends[0] > 0.02


@pytest.mark.parametrize(("videos", "levels"), [(1, 1), (7, 3), (50, 5), (200, 10_000)])
def test_average_precision_equals_scikit_learn(videos: int, levels: int) -> None:
    rng = np.random.default_rng(videos)
    for _ in range(20):
        scores, positive = rng.integers(levels, size=videos) / levels, rng.random(videos) < 0.3
        positive[rng.integers(videos)] = True
        expected = average_precision_score(positive, scores)
        assert average_precision(torch.tensor(scores), torch.tensor(positive)) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_equals_counting_by_hand() -> None:
    probabilities = torch.tensor(np.random.default_rng(0).dirichlet(np.full(6, 0.3), size=200))
    labels, sums = torch.arange(200) % 6, np.zeros((15, 3))
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        place = next(b for b in range(15) if max(row) <= (b + 1) / 15 or b == 14)
        sums[place] += (1, max(row), row.index(max(row)) == label)
    expected = sum(n / 200 * abs(c / n - r / n) for n, c, r in sums.tolist() if n)
    assert calibration_error(probabilities, labels) == pytest.approx(expected)


def test_several_labels_give_mean_average_precision() -> None:
    rng = np.random.default_rng(0)
    names = tuple("abcdef")
    labels = [
        tuple(sorted(rng.choice(5, size=rng.integers(1, 4), replace=False).tolist())) for _ in range(40)
    ]  # never f
    probabilities = torch.tensor(rng.dirichlet(np.ones(6), size=40))
    choices = probabilities.argmax(dim=1, keepdim=True)
    table = label_tensor(labels, 3)
    result = summarize(Scores(probabilities, table, torch.arange(40)), names)
    has = multi_hot(table, 6).numpy()
    expected = average_precision_score(has[:, :5], probabilities[:, :5].numpy(), average=None)
    assert result.class_accuracy == pytest.approx(dict(zip(names, expected, strict=False)))
    assert result.mean_average_precision == pytest.approx(expected.mean())
    hit = np.mean([choice in own for own, (choice,) in zip(labels, choices.tolist(), strict=True)])
    assert result.top1 == pytest.approx(hit)
    assert result.confusion == []
