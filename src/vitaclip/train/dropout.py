"""Dropout masks that depend only on the run's seed, the step and the clip's position in the batch. A resumed run
therefore continues exactly, and any number of ranks draws the same masks.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vitaclip.data import Stream, generator


class StepMasks:
    """Draws the dropout masks of some clips of one step; each call draws further ones."""

    def __init__(self, seed: int, step: int, positions: Sequence[int]) -> None:
        """Args:
        seed: the seed of the run.
        step: the optimiser step.
        positions: positions of the b clips in the step's batch over all ranks.
        """
        self._numbers = [(seed, step, position) for position in positions]
        self._drawing: list[np.random.Generator] = []

    def __call__(self, count: int, rate: float) -> Tensor:
        """Return factors (b, count): 0 with probability `rate`, else 1 / (1 - rate)."""
        if not self._drawing:
            self._drawing = [generator(seed, Stream.DROPOUT, step, position) for seed, step, position in self._numbers]
        kept = np.stack([drawing.random(count) >= rate for drawing in self._drawing])
        return torch.from_numpy(kept).float() / (1 - rate)
