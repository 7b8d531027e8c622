"""Where all random draws of training come from: a seed and a purpose, never a global state."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What is drawn. The same seed gives each purpose its own stream; a number is never given to another purpose."""

    ORDER = 0
    """The order of an epoch; numbered by epoch."""
    SAMPLE = 1
    """Frames and augmentation of a clip; numbered by step, place in the batch, and attempt."""
    MIX = 2
    """How the clips of a step are mixed; numbered by step."""
    SHOTS = 3
    """The few videos of a class that are trained on; numbered by class."""
    DROPOUT = 5
    """What a training step leaves out; numbered by step and place in the batch."""
    VALIDATION = 6
    """Which videos of the training list are kept for validation."""


def generator(seed: int, purpose: Stream, *numbers: int) -> np.random.Generator:
    """A generator that depends on its arguments alone."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, *numbers)))
