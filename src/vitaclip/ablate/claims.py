"""Judging a claim that one row of the table is better than another."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vitaclip.ablate.variants import Claim

RULE = (
    "a claim is held if the mean over the seeds of the difference (paired by seed) is above twice its standard error,"
    " reversed if it is below minus twice that, and not shown otherwise; one seed shows nothing"
)


@dataclass(frozen=True)
class Verdict:
    """A claim on a test list, judged."""

    claim: Claim
    test: str
    difference: float
    """Mean over the seeds of better minus than."""
    standard_error: float
    """Of that mean; not a number for one seed."""
    outcome: Literal["held", "not shown", "reversed"]


def judge(claim: Claim, test: str, better: Sequence[float], than: Sequence[float]) -> Verdict:
    """Judge a claim by two rows' values, one a seed, in the same order: see `RULE`."""
    differences = [a - b for a, b in zip(better, than, strict=True)]
    mean, count = statistics.fmean(differences), len(differences)
    error = statistics.stdev(differences) / math.sqrt(count) if count > 1 else math.nan
    if mean > 2 * error:
        return Verdict(claim, test, mean, error, "held")
    return Verdict(claim, test, mean, error, "reversed" if mean < -2 * error else "not shown")


def judge_all(
    claims: Sequence[Claim], rows: Mapping[str, Mapping[tuple[str, str], Sequence[float]]]
) -> Iterator[Verdict]:
    """Judge the claims whose rows, test lists and figures are in a table of (test list, figure) in rows."""
    for claim in claims:
        if claim.better in rows and claim.than in rows:
            for (test, figure), better in rows[claim.better].items():
                if figure == claim.figure and claim.test in ("", test):
                    yield judge(claim, test, better, rows[claim.than][test, figure])
