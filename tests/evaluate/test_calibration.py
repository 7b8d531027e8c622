"""Calibration against counting by hand and against a grid of temperatures."""

import numpy as np
import pytest
import torch

from vitaclip.evaluate.calibration import (
    accuracy_by_coverage,
    calibrate,
    confidence_bins,
    expected_calibration_error,
    fit_temperature,
    scale_temperature,
)


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
    bins = confidence_bins(probabilities, labels)
    assert expected_calibration_error(bins) == pytest.approx(expected)
    assert [each.count for each in bins] == [n for n in sums[:, 0].tolist() if n]


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_is_the_best_of_a_grid_and_undoes_sharpness(sharpness: float) -> None:
    probabilities, labels = drawn(3000, sharpness)
    found = fit_temperature(probabilities, labels)
    grid = np.exp(np.linspace(np.log(0.05), np.log(20), 600))
    losses = [
        -float(scale_temperature(probabilities, t)[torch.arange(3000), labels].log().mean()) for t in grid.tolist()
    ]
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=0.02)
    assert found == pytest.approx(sharpness, rel=0.1)


def test_a_model_too_sure_of_itself_is_mended_on_videos_that_were_not_fitted_on() -> None:
    probabilities, labels = drawn(2001, 3.0)
    result = calibrate(probabilities, labels)
    assert (result.fitted_on, result.held_out) == (1000, 1001)
    assert result.temperature > 2
    assert result.held_out_ece > 0.1
    assert result.held_out_ece_scaled < 0.05
    assert calibrate(probabilities, labels) == result
    with pytest.raises(ValueError, match="needs at least 2"):
        calibrate(probabilities[:1], labels[:1])


def test_probabilities_of_zero_stay_finite() -> None:
    probabilities = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert np.isfinite(fit_temperature(probabilities, torch.tensor([0, 1, 1])))


def test_accuracy_by_coverage_equals_counting_by_hand() -> None:
    probabilities, labels = drawn(37, 1.0)
    ranked = sorted(zip(probabilities.tolist(), labels.tolist(), strict=True), key=lambda pair: -max(pair[0]))
    right = [row.index(max(row)) == label for row, label in ranked]
    curve = accuracy_by_coverage(probabilities, labels)
    assert curve[-1] == pytest.approx((1.0, sum(right) / 37))
    for share, accuracy in curve:
        count = round(share * 37)
        assert accuracy == pytest.approx(sum(right[:count]) / count)
