"""What the published code does with its model.

Axes: B videos of a step, V views, T frames, H x W pixels, K classes.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from published.model import PublishedModel


def train_step(
    model: PublishedModel,
    optimizer: Optimizer,
    video: Tensor,
    labels: Tensor,
    micro_batches: int,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> float:
    """One update from (B, T, 3, H, W), normalised, and labels (B,), in equal micro-batches; returns the mean loss."""
    optimizer.zero_grad()
    total = 0.0
    for part, targets in zip(video.chunk(micro_batches), labels.chunk(micro_batches), strict=True):
        with autocast():
            logits = model(part)
            loss = cross_entropy(logits, targets) / micro_batches
        total += loss.item()
        loss.backward()
    optimizer.step()
    return total


@torch.no_grad()
def score_video(
    model: PublishedModel, views: Tensor, autocast: Callable[[], AbstractContextManager[object]] = nullcontext
) -> Tensor:
    """Probabilities (K,) of one video from its views (V, T, 3, H, W), normalised."""
    with autocast():
        return model(views).softmax(dim=-1).mean(dim=0)
