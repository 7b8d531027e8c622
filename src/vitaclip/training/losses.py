"""The losses that training minimises.

Axes: b clips, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from vitaclip.data.labels import multi_hot as to_multi_hot
from vitaclip.plugins import load_plugins
from vitaclip.settings import require
from vitaclip.strings import did_you_mean
from vitaclip.training.config import OptimConfig

SumLosses = Callable[[Tensor, Tensor, OptimConfig], Tensor]
"""The sum of the clips' losses, from logits (b, K), targets and the run's settings. Targets are labels (b,), or (b, M)
where videos have several, or the weight of each class (b, K) where clips are mixed."""


@dataclass(frozen=True)
class Loss:
    """A loss, and what it can take."""

    sum_losses: SumLosses
    takes_several: bool
    """Whether a video may have several labels. Their weights leave nothing for label smoothing to spread."""


_LOSSES: dict[str, Loss] = {}


def register_loss(name: str, *, multi_hot: bool = False) -> Callable[[SumLosses], SumLosses]:
    """A decorator that makes a function known as the loss `name`; with `multi_hot` its targets are always (b, K),
    and videos may have several labels.

    >>> @register_loss("squared", multi_hot=True)
    ... def squared(logits, targets, config):
    ...     return (logits.sigmoid() - targets).square().sum()
    """

    def add(sum_losses: SumLosses) -> SumLosses:
        def of_classes(logits: Tensor, targets: Tensor, config: OptimConfig) -> Tensor:
            mixed = targets.is_floating_point()
            weights = targets if mixed else to_multi_hot(targets, logits.shape[-1])
            return sum_losses(logits, weights.to(logits.dtype), config)

        _LOSSES[name] = Loss(of_classes if multi_hot else sum_losses, takes_several=multi_hot)
        return sum_losses

    return add


def find_loss(config: OptimConfig) -> Loss:
    """The loss that a run names, which may come from a plugin.

    Raises:
        ValueError: if there is none of that name, or if it cannot do what else the run asks for.
    """
    load_plugins()
    name = config.loss
    if name not in _LOSSES:
        raise ValueError(f"optim.loss = {name!r}{did_you_mean(name, _LOSSES)}; there is {', '.join(_LOSSES)}")
    smooths = not (config.label_smoothing and _LOSSES[name].takes_several)
    require(smooths, config, "label_smoothing", f"must be 0 with {name}")
    return _LOSSES[name]


@register_loss("cross_entropy")
def cross_entropy(logits: Tensor, targets: Tensor, config: OptimConfig) -> Tensor:
    """One label a video, as published."""
    return F.cross_entropy(logits, targets, reduction="sum", label_smoothing=config.label_smoothing)


@register_loss("bce", multi_hot=True)
def binary_cross_entropy(logits: Tensor, targets: Tensor, config: OptimConfig) -> Tensor:
    """The mean over a clip's classes. Logits count from their mean over the classes, because those of CLIP are all far
    above zero: only their differences were trained."""
    centred = logits - logits.mean(dim=1, keepdim=True)
    return F.binary_cross_entropy_with_logits(centred, targets, reduction="none").mean(dim=1).sum()
