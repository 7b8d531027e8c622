"""Exponential moving average (EMA) of what trains. torch's `AveragedModel` would copy the frozen backbone too, and
count steps that a checkpoint would have to hold.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """Averages of the trained parameters, which start at the parameters' initial values.

    Attributes:
        values: the averages, by the parameters' names.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float) -> None:
        """Average `parameters`; each update keeps the fraction `decay` of the old average."""
        self.decay, self._parameters = decay, parameters
        self.values: dict[str, Tensor] = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include the parameters after `step` steps. The decay grows with the steps, as in TensorFlow, so that the
        initial values are forgotten soon."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self._parameters.items():
            self.values[name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def apply(self, values: dict[str, Tensor] | None = None) -> None:
        """Copy the averages (or other values) into the parameters."""
        for name, parameter in self._parameters.items():
            parameter.copy_((values or self.values)[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Hold the averages in the parameters for as long as the context lasts."""
        trained = {name: p.detach().clone() for name, p in self._parameters.items()}
        self.apply()
        try:
            yield
        finally:
            self.apply(trained)
