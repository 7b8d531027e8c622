"""The optimiser, the number of steps, and the learning rate as a function of the step, which needs no saved state."""

import math

from torch.optim import AdamW

from vitaclip.model import VideoModel
from vitaclip.settings import require
from vitaclip.train.config import OptimConfig


def build_optimizer(model: VideoModel, config: OptimConfig) -> AdamW:
    """AdamW over what trains, in one group, or in two: with weight decay and without."""
    parameters = list(model.trainable_parameters().values())
    decayed = [p for p in parameters if config.decayed == "all" or p.dim() >= 2]
    others = [p for p in parameters if config.decayed == "matrices" and p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return AdamW([group for group in groups if group["params"]], lr=config.learning_rate)


def total_steps(config: OptimConfig, num_videos: int) -> int:
    """Number of steps of a run on `num_videos` training videos; those of `epochs` are rounded up.

    Raises:
        ValueError: if the warm-up is not shorter than that.
    """
    steps = config.steps or math.ceil(config.epochs * num_videos / config.batch_size)
    require(config.warmup_steps < steps, config, "warmup_steps", f"must be fewer than all steps, here {steps}")
    return steps


def cosine(step: int, steps: int, warmup_steps: int = 0) -> float:
    """Factor of the learning rate at `step` of `steps`: a half cosine from 1 to 0, after a linear warm-up.

    >>> [cosine(step, 4) for step in (0, 2)]
    [1.0, 0.5]
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps)))
