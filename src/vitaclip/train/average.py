"""An exponential moving average of what trains (Polyak averaging)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class PromptAverage:
    """Averages of the trained parameters, which start at the parameters' own start.

    Attributes:
        values: the averages, by the parameters' names.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float) -> None:
        """Average `parameters`; `decay` is what an update leaves of the old average."""
        self.decay = decay
        self._parameters = parameters
        self.values: dict[str, Tensor] = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after `step` steps. Early on less of the start is kept, as TensorFlow does."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self._parameters.items():
            self.values[name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Put the averages into the parameters."""
        for name, parameter in self._parameters.items():
            parameter.copy_(self.values[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The averages in place of the parameters, for a while."""
        trained = {name: p.detach().clone() for name, p in self._parameters.items()}
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self._parameters.items():
                    parameter.copy_(trained[name])
