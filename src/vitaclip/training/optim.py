"""The optimiser, the length of a run, the learning rate, and the moving average of what trains.

What a parameter gets of the optimiser is said in one place, `group_settings`; how the learning rate goes over the run
in another, `Schedule`.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from vitaclip.model import VideoModel
from vitaclip.settings import require
from vitaclip.training.config import OptimConfig

POSITIONS = ("pos_embed", "positions")
"""What position embeddings are called, in the towers and in parts."""


@dataclass(frozen=True)
class Schedule:
    """The learning rate of a run with all its numbers in steps; it depends on the step alone and needs no saved state.

    >>> schedule = Schedule(OptimConfig(learning_rate=1.0, steps=4), num_videos=100)
    >>> [schedule.rate(step) for step in (0, 2)]
    [1.0, 0.5]
    """

    config: OptimConfig
    num_videos: int
    """Training videos, of which `epochs` are made."""

    def __post_init__(self) -> None:
        name = "warmup_epochs" if self.config.warmup_epochs else "warmup_steps"
        remedy = f"must be fewer than all steps, here {self.steps}"
        require(self.warmup_steps < self.steps, self.config, name, remedy)

    @property
    def steps(self) -> int:
        """Steps of the run; those of `epochs` are rounded up."""
        return self.config.steps or math.ceil(self.config.epochs * self.num_videos / self.config.batch_size)

    @property
    def warmup_steps(self) -> int:
        """Steps of the warm-up."""
        return self.config.warmup_steps or round(self.config.warmup_epochs * self.num_videos / self.config.batch_size)

    def rate(self, step: int, factor: float = 1.0) -> float:
        """The learning rate at a step, for parameters whose rate is `factor` times that of the parts."""
        config, warmup = self.config, self.warmup_steps
        if config.schedule == "timm_cosine":
            floor = config.floor * config.backbone_rate * config.learning_rate
            top = factor * config.learning_rate
            if step < warmup:
                return top * step / warmup
            return floor + (top - floor) * _half_cosine(step / self.steps)
        if step < warmup:
            fraction = (step + 1) / (warmup + 1)
        else:
            fraction = config.floor + (1 - config.floor) * _half_cosine((step - warmup) / (self.steps - warmup))
        return factor * config.learning_rate * fraction


def build_optimizer(model: VideoModel, config: OptimConfig) -> AdamW:
    """AdamW over all that trains. Parameters with equal settings share a group, whose `factor` is that of its rate."""
    groups: dict[tuple[object, ...], dict[str, Any]] = {}
    for name, parameter in model.trainable_parameters().items():
        settings = group_settings(name, parameter, config)
        groups.setdefault(tuple(settings.values()), {**settings, "params": []})["params"].append(parameter)
    return AdamW(groups.values(), lr=config.learning_rate, betas=config.betas)


def group_settings(name: str, parameter: nn.Parameter, config: OptimConfig) -> dict[str, float]:
    """AdamW's settings for one parameter, whose name says which part or tower it belongs to."""
    is_decayed = config.decayed == "all" or parameter.dim() >= 2
    if config.decayed == "no_positions" and name.rpartition(".")[2] in POSITIONS:
        is_decayed = False
    return {
        "weight_decay": config.weight_decay if is_decayed else 0.0,
        "factor": config.backbone_rate if name.startswith("backbone.") else 1.0,
    }


def set_learning_rate(optimizer: AdamW, step: int, schedule: Schedule) -> float:
    """Set the learning rate of a step in all groups, and return that of the parts."""
    for group in optimizer.param_groups:
        group["lr"] = schedule.rate(step, group.get("factor", 1.0))  # groups of older checkpoints have none
    return schedule.rate(step)


def _half_cosine(progress: float) -> float:
    """From 1 at the start to 0 at the end."""
    return 0.5 * (1 + math.cos(math.pi * progress))


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
