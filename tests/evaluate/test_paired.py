"""Paired comparisons against exact binomials, all sign flips one by one, and plain sums."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from vitaclip.evaluate.paired import compare, standard_error


def outcomes(n: int, candidates: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, candidates, generator=generator) < 0.7, torch.rand(n, generator=generator) < 0.3


@pytest.mark.parametrize(("won", "lost"), [(9, 1), (6, 3), (4, 4), (0, 5), (30, 12)])
def test_one_candidate_is_the_exact_test_of_mcnemar(won: int, lost: int) -> None:
    right = torch.tensor([True] * won + [False] * lost + [True] * 7 + [False] * 5)
    reference = torch.tensor([False] * won + [True] * lost + [True] * 7 + [False] * 5)
    (found,) = compare(right[:, None], reference)
    split, larger = won + lost, max(won, lost)
    tail = sum(math.comb(split, k) for k in range(larger, split + 1)) / 2**split
    assert found.p_value == pytest.approx(min(1.0, 2 * tail), abs=0.015)
    assert found.difference == pytest.approx((won - lost) / len(right))
    assert found.beyond_chance == (2 * tail < 0.05)


@pytest.mark.parametrize("seed", [0, 1])
def test_many_candidates_are_adjusted_as_by_all_flips(seed: int) -> None:
    right, reference = outcomes(10, 6, seed)
    gained = (right.int() - reference.int()[:, None]).tolist()
    split = [max(1, sum(abs(row[c]) for row in gained)) for c in range(6)]
    statistics = []
    for signs in itertools.product((-1, 1), repeat=10):
        sums = [sum(sign * row[c] for sign, row in zip(signs, gained, strict=True)) for c in range(6)]
        statistics.append(max(abs(total) / math.sqrt(n) for total, n in zip(sums, split, strict=True)))
    for c, found in enumerate(compare(right, reference)):
        observed = abs(sum(row[c] for row in gained)) / math.sqrt(split[c])
        expected = sum(each >= observed - 1e-9 for each in statistics) / len(statistics)
        assert found.p_value == pytest.approx(expected, abs=0.02)


def test_the_standard_error_is_that_of_paired_differences() -> None:
    right, reference = outcomes(40, 3, 5)
    for c, found in enumerate(compare(right, reference)):
        gained = [int(a) - int(b) for a, b in zip(right[:, c].tolist(), reference.tolist(), strict=True)]
        mean = sum(gained) / 40
        assert found.difference == pytest.approx(mean)
        assert found.standard_error == pytest.approx(math.sqrt(sum((g - mean) ** 2 for g in gained) / 40 / 40))
    assert standard_error(0.5, 100) == pytest.approx(0.05)


def test_looking_at_more_candidates_makes_chance_likelier() -> None:
    right, reference = outcomes(30, 40, 9)
    alone, among = compare(right[:, :1], reference)[0], compare(right, reference)[0]
    assert among.difference == alone.difference
    assert among.p_value > alone.p_value
    copies = compare(right[:, :1].expand(-1, 40), reference)  # forty that always agree are one
    assert [each.p_value for each in copies] == [alone.p_value] * 40


def test_candidates_that_agree_with_the_reference_do_not_differ() -> None:
    _, reference = outcomes(8, 1, 2)
    (found,) = compare(reference[:, None], reference)
    assert (found.difference, found.standard_error, found.p_value) == (0.0, 0.0, 1.0)


def test_noise_rarely_counts_as_a_difference() -> None:
    """Of 60 families of 20 equal candidates, about one in twenty or fewer holds one that seems to differ."""
    found = 0
    for seed in range(60):
        right = torch.rand(40, 21, generator=torch.Generator().manual_seed(seed)) < 0.5
        found += any(each.beyond_chance for each in compare(right[:, 1:], right[:, 0]))
    assert found <= 8
