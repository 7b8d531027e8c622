"""The losses that training minimises.

Axes: b clips, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from vitaclip.data import multi_hot
from vitaclip.plugins import load_plugins
from vitaclip.strings import did_you_mean
from vitaclip.train.config import OptimConfig

SumLosses = Callable[[Tensor, Tensor, OptimConfig], Tensor]
"""The sum of the clips' losses, from logits (b, K), targets (b,) class indices or (b, K) from 0 to 1, and the run."""


@dataclass(frozen=True)
class Loss:
    """A loss by name, and what it compares logits with."""

    sum: SumLosses
    multi_hot: bool
    """Whether its targets are always (b, K), 1 for each label of a clip; else (b,), or (b, K) where clips are mixed."""


_LOSSES: dict[str, Loss] = {}


def register_loss(name: str, *, multi_hot: bool = False) -> Callable[[SumLosses], SumLosses]:
    """A decorator that makes a function known as the loss `name`; see `Loss`."""

    def add(sum_losses: SumLosses) -> SumLosses:
        _LOSSES[name] = Loss(sum_losses, multi_hot)
        return sum_losses

    return add


def find_loss(name: str) -> Loss:
    """The loss of that name.

    Raises:
        ValueError: if there is none.
    """
    load_plugins()
    if name not in _LOSSES:
        raise ValueError(f"optim.loss = {name!r}{did_you_mean(name, _LOSSES)}; there is {', '.join(_LOSSES)}")
    return _LOSSES[name]


def make_targets(labels: Tensor, num_classes: int, config: OptimConfig) -> Tensor:
    """What the loss compares logits with: labels (b,) as they are, or (b, K) of 0 and 1."""
    return multi_hot(labels, num_classes).float() if find_loss(config.loss).multi_hot else labels


def sum_losses(logits: Tensor, targets: Tensor, config: OptimConfig) -> Tensor:
    """The sum of the clips' losses; see `SumLosses`."""
    return find_loss(config.loss).sum(logits, targets, config)


@register_loss("cross_entropy")
def cross_entropy(logits: Tensor, targets: Tensor, config: OptimConfig) -> Tensor:
    """One label a video, as published."""
    return F.cross_entropy(logits, targets, reduction="sum", label_smoothing=config.label_smoothing)


@register_loss("bce", multi_hot=True)
def binary_cross_entropy(logits: Tensor, targets: Tensor, config: OptimConfig) -> Tensor:
    """The mean over a clip's classes. Logits count from their mean over the classes, because those of CLIP are all far
    above zero: only their differences were trained."""
    centred = logits - logits.mean(dim=1, keepdim=True)
    return F.binary_cross_entropy_with_logits(centred, targets.to(logits.dtype), reduction="none").mean(dim=1).sum()
