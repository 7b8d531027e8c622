"""The optimiser, the length of a run, the learning rate, and the moving average of what trains.

What a parameter gets of the optimiser is said in one place, `group_settings`; how the learning rate goes over the run
in another, `cosine`. The rate depends on the step alone, so that it needs no saved state.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from vitaclip.model import VideoModel
from vitaclip.settings import require
from vitaclip.train.config import OptimConfig


def build_optimizer(model: VideoModel, config: OptimConfig) -> AdamW:
    """AdamW over all that trains. Parameters with equal settings share a group."""
    groups: dict[tuple[object, ...], dict[str, Any]] = {}
    for name, parameter in model.trainable_parameters().items():
        settings = group_settings(name, parameter, config)
        groups.setdefault(tuple(settings.values()), {**settings, "params": []})["params"].append(parameter)
    return AdamW(groups.values(), lr=config.learning_rate)


def group_settings(name: str, parameter: nn.Parameter, config: OptimConfig) -> dict[str, float]:
    """AdamW's settings for one parameter, whose name says which part or tower it belongs to."""
    del name  # all parts have the same settings so far
    is_decayed = config.decayed == "all" or parameter.dim() >= 2
    return {"weight_decay": config.weight_decay if is_decayed else 0.0}


def set_learning_rate(optimizer: AdamW, step: int, total_steps: int, config: OptimConfig) -> float:
    """Set the learning rate of a step in all groups, and return it."""
    rate = config.learning_rate * cosine(step, total_steps, config.warmup_steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def total_steps(config: OptimConfig, num_videos: int) -> int:
    """Number of steps of a run on `num_videos` training videos; those of `epochs` are rounded up."""
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


class EMA:
    """An exponential moving average of the trained parameters, which starts at their initial values. torch's
    `AveragedModel` would copy the frozen backbone too, and count steps that a checkpoint would have to hold."""

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float) -> None:
        self.decay, self._parameters = decay, parameters
        self.values: dict[str, Tensor] = {name: p.detach().clone() for name, p in parameters.items()}
        """The averages, by the parameters' names."""

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include the parameters after `step` steps, which keeps the fraction `decay` of the average. The decay grows
        with the steps, as in TensorFlow, so that the initial values are forgotten soon."""
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
