"""What training makes small.

Axes: b clips, K classes.
"""

import torch.nn.functional as F
from torch import Tensor

from vitaclip.config import OptimConfig
from vitaclip.data import multi_hot


def make_targets(labels: Tensor, num_classes: int, config: OptimConfig) -> Tensor:
    """What the loss compares logits with: labels (b,) as they are, or for binary cross-entropy (b, K) of 0 and 1."""
    return multi_hot(labels, num_classes).float() if config.loss == "bce" else labels


def sum_losses(logits: Tensor, targets: Tensor, config: OptimConfig) -> Tensor:
    """The sum of the clips' losses.

    Binary cross-entropy is the mean over a clip's classes. Its logits count from their mean over the classes, because
    those of CLIP are all far above zero: only their differences were trained.

    Args:
        logits: (b, K).
        targets: (b,) class indices, or (b, K) from 0 to 1.
        config: which loss.
    """
    if config.loss == "bce":
        centred = logits - logits.mean(dim=1, keepdim=True)
        return F.binary_cross_entropy_with_logits(centred, targets.to(logits.dtype), reduction="none").mean(dim=1).sum()
    return F.cross_entropy(logits, targets, reduction="sum", label_smoothing=config.label_smoothing)
