"""Dropout whose masks come from the run's seed, the step and the clip's place in it alone: a run that was stopped goes
on the same, and any number of processes draws the same masks.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vitaclip.data import Stream, generator


class StepMasks:
    """The dropout masks of some clips of one step; asked again, it draws further ones."""

    def __init__(self, seed: int, step: int, places: Sequence[int]) -> None:
        """Args:
        seed: of the run.
        step: which is made.
        places: of the b clips in the step's batch, over all processes.
        """
        self._numbers = [(seed, step, place) for place in places]
        self._drawing: list[np.random.Generator] = []

    def __call__(self, count: int, rate: float) -> Tensor:
        """Factors (b, count), 0 with the chance `rate`, else 1 / (1 - rate)."""
        if not self._drawing:
            self._drawing = [generator(seed, Stream.DROPOUT, step, place) for seed, step, place in self._numbers]
        kept = np.stack([drawing.random(count) >= rate for drawing in self._drawing])
        return torch.from_numpy(kept).float() / (1 - rate)
