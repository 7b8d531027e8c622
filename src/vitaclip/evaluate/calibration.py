"""How far a model's confidence can be trusted. Confidence is the probability of the class that is named.

Axes: n videos, K classes.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_BINS = 15
_SMALLEST = 1e-30  # of a probability, so that its logarithm is finite
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class ConfidenceBin:
    """The videos whose confidence lies in one interval."""

    count: int
    confidence: float
    """Their mean confidence."""
    accuracy: float
    """The share of them that is named right."""


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy, before and after one temperature for all videos."""

    ece: float
    """Expected calibration error over all videos: the mean distance of confidence and accuracy, in [0, 1]."""
    bins: tuple[ConfidenceBin, ...]
    """Those that hold a video, least confident first."""
    temperature: float
    """Logits are to be divided by it; above 1: the model is too sure of itself."""
    fitted_on: int
    """Videos that the temperature was fitted on, a random half."""
    held_out: int
    """The other videos."""
    held_out_ece: float
    """Of the other videos, as they are."""
    held_out_ece_scaled: float
    """Of the other videos, with the temperature."""


def calibrate(probabilities: Tensor, labels: Tensor) -> Calibration:
    """Measure calibration, and fit a temperature on a random half (always the same) to test it on the other.

    Source of both measures: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.

    Args:
        probabilities: (n, K).
        labels: (n,).

    Raises:
        ValueError: if there are fewer than two videos.
    """
    if len(labels) < 2:
        raise ValueError(f"{len(labels)} video: calibration needs at least 2")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    fit, held_out = order[: len(order) // 2], order[len(order) // 2 :]
    temperature = fit_temperature(probabilities[fit], labels[fit])
    scaled = scale_temperature(probabilities, temperature)
    bins = confidence_bins(probabilities, labels)
    return Calibration(
        ece=expected_calibration_error(bins),
        bins=bins,
        temperature=temperature,
        fitted_on=len(fit),
        held_out=len(held_out),
        held_out_ece=expected_calibration_error(confidence_bins(probabilities[held_out], labels[held_out])),
        held_out_ece_scaled=expected_calibration_error(confidence_bins(scaled[held_out], labels[held_out])),
    )


def confidence_bins(probabilities: Tensor, labels: Tensor, num_bins: int = NUM_BINS) -> tuple[ConfidenceBin, ...]:
    """Videos sorted into intervals of confidence of equal width (upper ends belong to them); empty ones left out."""
    confidence, chosen = probabilities.double().max(dim=1)
    right = (chosen == labels).double()
    place = (confidence * num_bins).ceil().long().clamp(1, num_bins) - 1
    return tuple(
        ConfidenceBin(int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean()))
        for inside in (place == number for number in range(num_bins))
        if inside.any()
    )


def expected_calibration_error(bins: tuple[ConfidenceBin, ...]) -> float:
    """Mean over videos of the distance between their bin's confidence and accuracy."""
    total = sum(each.count for each in bins)
    return sum(each.count * abs(each.confidence - each.accuracy) for each in bins) / total


def scale_temperature(probabilities: Tensor, temperature: float) -> Tensor:
    """Probabilities (n, K) with the logits divided by a temperature; logarithms of probabilities serve as logits."""
    return (probabilities.double().clamp(min=_SMALLEST).log() / temperature).softmax(dim=1)


def fit_temperature(probabilities: Tensor, labels: Tensor, low: float = 0.05, high: float = 20.0) -> float:
    """The temperature in `low`..`high` with the least cross-entropy, by golden-section search over its logarithm.

    Cross-entropy is convex in the inverse of the temperature, so there is one minimum.
    """
    logits = probabilities.double().clamp(min=_SMALLEST).log()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(logits / math.exp(log_temperature), labels))

    left, right = math.log(low), math.log(high)
    while right - left > 1e-4:
        a, b = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
        left, right = (left, b) if loss(a) < loss(b) else (a, right)
    return math.exp((left + right) / 2)


def accuracy_by_coverage(probabilities: Tensor, labels: Tensor, points: int = 20) -> list[tuple[float, float]]:
    """(share of videos answered, accuracy on them), the most confident first: what refusing to answer would buy."""
    confidence, chosen = probabilities.max(dim=1)
    right = (chosen == labels)[confidence.argsort(descending=True, stable=True)].double()
    counts = sorted({max(1, round(len(right) * point / points)) for point in range(1, points + 1)})
    return [(count / len(right), float(right[:count].mean())) for count in counts]
