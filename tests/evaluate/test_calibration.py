"""Calibration against counting by hand."""

import numpy as np
import pytest
import torch

from vitaclip.evaluate.calibration import accuracy_by_coverage, calibrate


def drawn(n: int, sharpness: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels drawn from the softmax of random logits, and the softmax of these logits times `sharpness`."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, 6, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).flatten()
    return (logits * sharpness).softmax(dim=1), labels


def test_calibration_error_equals_counting_by_hand() -> None:
    probabilities, labels = drawn(200, 1.7)
    sums = np.zeros((15, 3))
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        place = next(b for b in range(15) if max(row) <= (b + 1) / 15 or b == 14)
        sums[place] += (1, max(row), row.index(max(row)) == label)
    expected = sum(n / 200 * abs(c / n - r / n) for n, c, r in sums.tolist() if n)
    found = calibrate(probabilities, labels)
    assert found.ece == pytest.approx(expected)
    assert [each.count for each in found.bins] == [n for n in sums[:, 0].tolist() if n]


def test_accuracy_by_coverage_equals_counting_by_hand() -> None:
    probabilities, labels = drawn(37, 1.0)
    ranked = sorted(zip(probabilities.tolist(), labels.tolist(), strict=True), key=lambda pair: -max(pair[0]))
    right = [row.index(max(row)) == label for row, label in ranked]
    curve = accuracy_by_coverage(probabilities, labels)
    assert curve[-1] == pytest.approx((1.0, sum(right) / 37))
    for share, accuracy in curve:
        count = round(share * 37)
        assert accuracy == pytest.approx(sum(right[:count]) / count)
