"""Motion and appearance, counted by hand."""

import pytest
import torch

from vitaclip.evaluate.metrics import Scores
from vitaclip.miniature.results import split_result
from vitaclip.miniature.world import MOTIONS, appearance_of, class_names, motion_of

NAMES = class_names()[:16]  # one colour, two shapes, all motions


def test_results_equal_counting_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(200, 16, generator=generator).softmax(dim=1)
    labels = torch.randint(0, 16, (200,), generator=generator)
    right_look = right_motion = right = 0
    confusion = [[0] * len(MOTIONS) for _ in MOTIONS]
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        truth, best = NAMES[label], NAMES[row.index(max(row))]
        right += truth == best
        right_look += appearance_of(truth) == appearance_of(best)
        same_look = [i for i, name in enumerate(NAMES) if appearance_of(name) == appearance_of(truth)]
        chosen = motion_of(NAMES[max(same_look, key=lambda i, row=row: row[i])])  # type: ignore[misc]
        right_motion += chosen == motion_of(truth)
        confusion[MOTIONS.index(motion_of(truth))][MOTIONS.index(chosen)] += 1
    result = split_result(Scores(probabilities, labels, torch.arange(200)), NAMES)
    assert result.top1 == pytest.approx(right / 200)
    assert result.appearance == pytest.approx(right_look / 200)
    assert result.motion == pytest.approx(right_motion / 200)
    assert result.motion_confusion == confusion
    assert (result.num_videos, result.num_classes) == (200, 16)
