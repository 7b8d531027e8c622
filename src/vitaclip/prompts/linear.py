"""A linear probe: what the prompts of the text tower are compared with.

Axes: K classes, D embedding.
"""

from torch import Tensor, nn


class ClassVectors(nn.Module):
    """A learned vector (K, D) for each class, where the features of its text would stand."""

    def __init__(self, start: Tensor) -> None:
        """Start from (K, D)."""
        super().__init__()
        self.vectors = nn.Parameter(start.detach().clone())

    def forward(self, places: Tensor) -> Tensor:
        """The vectors of some classes, by number: (k,) -> (k, D)."""
        return self.vectors[places]
