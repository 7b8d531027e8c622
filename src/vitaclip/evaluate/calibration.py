"""How far a model's confidence can be trusted. Confidence is the probability of the class that is named.

Axes: n videos, K classes.
"""

from dataclasses import dataclass

from torch import Tensor

NUM_BINS = 15


@dataclass(frozen=True)
class ConfidenceBin:
    """The videos whose confidence lies in one interval."""

    count: int
    confidence: float
    """Their mean confidence."""
    accuracy: float
    """The fraction of them that is named correctly."""


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy."""

    ece: float
    """Expected calibration error: the mean distance between confidence and accuracy of the bins, in [0, 1]."""
    bins: tuple[ConfidenceBin, ...]
    """Those that hold a video, least confident first."""


def calibrate(probabilities: Tensor, labels: Tensor, num_bins: int = NUM_BINS) -> Calibration:
    """Sort videos into intervals of confidence of equal width, and compare it with accuracy in each.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017. The upper end belongs to an interval.

    Args:
        probabilities: (n, K).
        labels: (n,).
        num_bins: intervals between 0 and 1.
    """
    confidence, predicted = probabilities.double().max(dim=1)
    correct = (predicted == labels).double()
    index = (confidence * num_bins).ceil().long().clamp(1, num_bins) - 1
    bins = tuple(
        ConfidenceBin(int(inside.sum()), float(confidence[inside].mean()), float(correct[inside].mean()))
        for inside in (index == number for number in range(num_bins))
        if inside.any()
    )
    ece = sum(each.count * abs(each.confidence - each.accuracy) for each in bins) / len(labels)
    return Calibration(ece, bins)


def accuracy_by_coverage(probabilities: Tensor, labels: Tensor, points: int = 20) -> list[tuple[float, float]]:
    """(fraction of videos answered, accuracy on them), the most confident first: what refusing to answer would buy."""
    confidence, predicted = probabilities.max(dim=1)
    correct = (predicted == labels)[confidence.argsort(descending=True, stable=True)].double()
    counts = sorted({max(1, round(len(correct) * point / points)) for point in range(1, points + 1)})
    return [(count / len(correct), float(correct[:count].mean())) for count in counts]
