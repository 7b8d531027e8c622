"""What the ranks exchange in a step: one sum of all gradients together with a few counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitaclip.distributed import DistEnv


@dataclass(frozen=True)
class StepMetrics:
    """Figures of one step over all ranks."""

    loss: float
    """Mean over the clips."""
    top1: float
    """Fraction of the clips whose top-1 class is correct."""
    skipped: int
    """Number of broken videos that others replaced."""
    should_stop: bool
    """Whether any rank was asked to stop."""


def reduce_step_metrics(
    gradients: Sequence[Tensor],
    loss: Tensor,
    correct: Tensor,
    *,
    clips: int,
    skipped: int,
    should_stop: bool,
    dist: DistEnv,
) -> StepMetrics:
    """Sum over the ranks, and turn gradients of a summed loss, in place, into those of the mean over the step's clips.

    Args:
        gradients: of all that trains.
        loss: summed over this rank's clips.
        correct: number of this rank's clips whose top-1 class is correct.
        clips: number of this rank's clips.
        skipped: number of broken videos that this rank replaced.
        should_stop: whether this rank was asked to stop.
        dist: the ranks of the run.
    """
    counts = loss.new_tensor([clips, skipped, should_stop])
    figures = torch.cat([torch.stack([loss, correct.to(loss.dtype)]), counts])
    if dist.world_size > 1:
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), figures])
        dist.all_reduce(flat)
        *sums, figures = flat.split([*(gradient.numel() for gradient in gradients), len(figures)])
        for gradient, total in zip(gradients, sums, strict=True):
            gradient.copy_(total.view_as(gradient))
    # All figures are read here at once, because each read makes a GPU wait.
    all_loss, all_correct, all_clips, all_skipped, asked = figures.tolist()
    for gradient in gradients:
        gradient /= all_clips
    return StepMetrics(all_loss / all_clips, all_correct / all_clips, int(all_skipped), asked > 0)
