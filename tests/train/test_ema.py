"""The moving average of what trains."""

import torch
from torch import nn

from vitaclip.train.optim import EMA


def test_ema_equals_recursion_written_out() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    average = EMA({"p": parameter}, decay=0.4)
    expected = parameter.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            parameter.add_(torch.tensor([step, 0.5]))
        average.update(step)
        kept = min(0.4, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * parameter.detach()
        torch.testing.assert_close(average.values["p"], expected)
    assert not average.values["p"].requires_grad


def test_applied_is_undone_exactly_even_after_error() -> None:
    parameter = nn.Parameter(torch.rand(5))
    average = EMA({"p": parameter}, decay=0.9)
    start = parameter.detach().clone()
    with torch.no_grad():
        parameter.add_(torch.rand(5))
    trained = parameter.detach().clone()
    applied = average.applied()
    applied.__enter__()
    assert torch.equal(parameter, start)
    error = KeyError("inside")
    assert not applied.__exit__(KeyError, error, None)
    assert torch.equal(parameter, trained)
    assert torch.equal(average.values["p"], start)
    average.apply()
    assert torch.equal(parameter, start)
