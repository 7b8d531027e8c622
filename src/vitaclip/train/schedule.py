"""The learning rate as a function of the step, so that a resumed run needs no state for it."""

import math


def cosine(step: int, steps: int) -> float:
    """Factor on the learning rate at `step` of `steps`: a half cosine from 1 to 0 (the published schedule)."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))
