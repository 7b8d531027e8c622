"""Whether accuracies that were measured on the same videos differ by more than chance.

Axes: n videos, C candidates, R random sign flips.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LEVEL = 0.05
"""Differences with a smaller p-value count as larger than chance."""
FLIPS = 9999
_FLIPS_AT_A_TIME = 1111


@dataclass(frozen=True)
class Difference:
    """How far a candidate's top-1 is from the reference's, on the same videos."""

    difference: float
    """In [-1, 1]; above 0: the candidate is better."""
    standard_error: float
    """Of the difference, paired: only videos that one of the two names right count."""
    p_value: float
    """How often chance alone would set the most different of all candidates this far apart."""

    @property
    def beyond_chance(self) -> bool:
        """Whether the p-value is below LEVEL."""
        return self.p_value < LEVEL


def compare(right: Tensor, reference: Tensor) -> list[Difference]:
    """Compare candidates with a reference by McNemar's test, adjusted for looking at all of them.

    If a candidate and the reference are equally good, a video that only one of them names right is as likely to be
    the one's as the other's. So each video's outcomes are flipped at random, for all candidates together, and the
    largest McNemar statistic of any candidate is noted (Westfall and Young's adjustment: candidates that nearly agree
    cost little). The flips are the same in every call.

    Args:
        right: (n, C) bool, whether a candidate names a video right.
        reference: (n,) bool.

    Returns:
        One entry a candidate, in order.
    """
    gained = right.double() - reference.double()[:, None]
    split = gained.abs().sum(dim=0)  # videos that one of the two names right
    scale = split.clamp(min=1).sqrt()
    observed = (gained.sum(dim=0) / scale).abs()
    largest = _largest_by_chance(gained[gained.any(dim=1)], scale)
    p_values = (1 + (largest[:, None] >= observed - 1e-9).double().sum(dim=0)) / (1 + len(largest))
    n = len(reference)
    mean = gained.mean(dim=0)
    variance = split / n - mean**2
    errors = [math.sqrt(max(value, 0.0) / n) for value in variance.tolist()]
    return [Difference(*each) for each in zip(mean.tolist(), errors, p_values.tolist(), strict=True)]


def standard_error(share: float, count: int) -> float:
    """Of a share of `count` independent videos."""
    return math.sqrt(share * (1 - share) / count)


def _largest_by_chance(gained: Tensor, scale: Tensor) -> Tensor:
    """(R,) the largest McNemar statistic of any candidate after each flip."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(0, FLIPS, _FLIPS_AT_A_TIME):
        signs = 2.0 * torch.randint(2, (_FLIPS_AT_A_TIME, len(gained)), generator=generator).double() - 1
        found.append((signs @ gained / scale).abs().amax(dim=1))
    return torch.cat(found)
