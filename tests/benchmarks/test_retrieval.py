"""Figures of the retrieval benchmark, against a loop over ranks."""

import math

import numpy as np
import pytest
from retrieval import figures, moments_found, wanted

from vitaclip.moments.table import Segment
from vitaclip.search.hits import Hit, Hits


def by_hand(right: set[str], found: list[str]) -> dict[str, float]:
    hits, gain, ideal, reciprocal = [], 0.0, 0.0, 0.0
    for rank, each in enumerate(found[:10], 1):
        hits.append(each in right)
        gain += hits[-1] / math.log2(rank + 1)
        reciprocal = reciprocal or hits[-1] / rank
    for rank in range(1, 1 + min(10, len(right))):
        ideal += 1 / math.log2(rank + 1)
    first = {"hit@1": hits[0], "hit@10": any(hits), "recall@1": hits[0] / len(right)}
    return first | {"recall@10": sum(hits) / len(right), "nDCG@10": gain / ideal, "MRR@10": reciprocal}


def test_figures_are_those_of_a_loop_over_ranks() -> None:
    rng, letters = np.random.default_rng(0), [*"abcdefghijklmnopqrstuvwxyz"]
    right = [set(rng.choice(letters, count, replace=False).tolist()) for count in (1, 2, 5, 12, 1, 1)]
    found = [rng.permutation(letters)[:count].tolist() for count in (26, 26, 26, 26, 3, 1)]
    each = [by_hand(*pair) for pair in zip(right, found, strict=True)]
    expected = {name: np.mean([row[name] for row in each]) for name in each[0]}
    assert figures(right, found) == pytest.approx(expected)
    assert 0 < expected["nDCG@10"] < 1


def test_a_moment_counts_once_and_from_half_its_union() -> None:
    truth = {"film": [Segment(2, 4, "a", 1), Segment(6, 8, "b", 1)], "other": [Segment(0, 2, "a", 1)]}
    spans = [("film", 2.5, 4.5), ("film", 2, 4), ("film", 6, 8), ("other", 1, 3)]
    hits = Hits("a", tuple(Hit(0.5, path, start, end) for path, start, end in spans))
    moments, films = wanted(truth, "a")
    assert [each in moments for each in moments_found(hits, truth, "a")] == [True, False, False, False]
    assert films == {"film", "other"}
