"""How long a run is, and the learning rate as a function of the step, so that a resumed run needs no state for it."""

import math

from vitaclip.config import OptimConfig, require


def total_steps(config: OptimConfig, num_videos: int) -> int:
    """Steps of a run on `num_videos` training videos; those of epochs are rounded up.

    Raises:
        ValueError: if the warm-up is as long as that.
    """
    steps = config.steps or math.ceil(config.epochs * num_videos / config.batch_size)
    require(config.warmup_steps < steps, config, "warmup_steps", f"must be fewer than all steps, here {steps}")
    return steps


def cosine(step: int, steps: int, warmup_steps: int = 0) -> float:
    """Factor on the learning rate at `step` of `steps`: a half cosine from 1 to 0 (the published schedule).

    The first `warmup_steps` grow evenly towards 1, which the step after them has.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps)))
