"""What the processes of a run tell each other in a step: one sum of the prompts' gradients with a few figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitaclip.distributed import DistEnv


@dataclass(frozen=True)
class StepTotals:
    """A step's figures over all processes."""

    loss: float
    """Mean over the clips."""
    top1: float
    """Share of the clips that were named right."""
    skipped: int
    """Broken videos that others stand in for."""
    asked_to_stop: bool
    """Whether any process was."""


def combine(
    gradients: Sequence[Tensor],
    loss: Tensor,
    correct: Tensor,
    *,
    clips: int,
    skipped: int,
    asked_to_stop: bool,
    dist: DistEnv,
) -> StepTotals:
    """Turn gradients of this process's summed loss, in place, into those of the mean over all clips of the step.

    Args:
        gradients: of all that trains.
        loss: sum over this process's clips.
        correct: how many of them were named right.
        clips: how many there are.
        skipped: broken videos on the way.
        asked_to_stop: whether this process was.
        dist: those that share the step.
    """
    counts = loss.new_tensor([clips, skipped, asked_to_stop])
    figures = torch.cat([torch.stack([loss, correct.to(loss.dtype)]), counts])
    if dist.world_size > 1:
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), figures])
        dist.all_reduce(flat)
        *sums, figures = flat.split([*(gradient.numel() for gradient in gradients), len(figures)])
        for gradient, total in zip(gradients, sums, strict=True):
            gradient.copy_(total.view_as(gradient))
    # Read here, once: each reading makes a GPU wait.
    all_loss, all_correct, all_clips, all_skipped, asked = figures.tolist()
    for gradient in gradients:
        gradient /= all_clips
    return StepTotals(all_loss / all_clips, all_correct / all_clips, int(all_skipped), asked > 0)
