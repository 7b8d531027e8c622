"""Claims that one row of the table is better than another, and how they are judged."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

RULE = (
    "a claim is held if the mean over the seeds of the difference (paired by seed) is above twice its standard error,"
    " reversed if it is below minus twice that, and not shown otherwise; one seed shows nothing"
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """That one row is better than another."""

    says: str
    better: str
    than: str
    test: str = ""
    """Name of a test list. Empty: every list, each for itself."""
    figure: str = "top1"


@dataclass(frozen=True)
class Verdict:
    """A claim on a test list, judged by `RULE`."""

    claim: Claim
    test: str
    difference: float
    """Mean over the seeds of better minus than."""
    standard_error: float | None
    """Of that mean; None for one seed."""
    outcome: str
    """held, not shown or reversed."""

    def cells(self) -> tuple[str, str, str, str]:
        """The claim with its list, what is compared, the difference in points, and the outcome."""
        points = f"{round(100 * self.difference, 1) + 0.0:+.1f}"  # no minus zero
        points += "" if self.standard_error is None else f" (± {100 * self.standard_error:.1f})"
        claim = self.claim
        return f"{claim.says} ({self.test})", f"{claim.better} - {claim.than}", points, self.outcome


def judge(claim: Claim, test: str, better: Sequence[float], than: Sequence[float]) -> Verdict:
    """Judge a claim by two rows' values, one a seed, in the same order."""
    differences = [a - b for a, b in zip(better, than, strict=True)]
    mean, count = statistics.fmean(differences), len(differences)
    if count == 1:
        return Verdict(claim, test, mean, None, "not shown")
    error = statistics.stdev(differences) / math.sqrt(count)
    outcome = "held" if mean > 2 * error else "reversed" if mean < -2 * error else "not shown"
    return Verdict(claim, test, mean, error, outcome)
