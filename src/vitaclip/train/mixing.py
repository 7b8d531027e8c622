"""MixUp (Zhang et al., 2018) and CutMix (Yun et al., 2019) on clips.

A clip is mixed with its neighbour in the batch, whose order is random already; one draw serves a whole step and all
frames. CutMix pastes bytes; MixUp blends after normalisation, on the device, so nothing is rounded.

Axes: b clips of a micro-batch, T frames, S x S pixels, K classes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vitaclip.config import AugmentConfig
from vitaclip.data import Stream, generator, multi_hot


@dataclass(frozen=True)
class Mix:
    """How every clip of one step is mixed with its neighbour."""

    share: float
    """What is left of the clip itself, 0 to 1; also its share of the label."""
    box: tuple[int, int, int, int] | None
    """CutMix: top, left, bottom, right of what the neighbour covers, in pixels. None: MixUp."""

    def pixels(self, video: Tensor, neighbour: Tensor, normalize: Callable[[Tensor], Tensor]) -> Tensor:
        """Mixed clips (b, T, 3, S, S) of two uint8 ones: uint8 again, or blended and normalised float."""
        if self.box is None:
            return self.share * normalize(video) + (1 - self.share) * normalize(neighbour)
        top, left, bottom, right = self.box
        mixed = video.clone()
        mixed[..., top:bottom, left:right] = neighbour[..., top:bottom, left:right]
        return mixed

    def targets(self, labels: Tensor, neighbour: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
        """Shares of the classes (b, K) of two lots of labels (b,) or (b, M)."""
        own, other = (multi_hot(numbers, num_classes).to(dtype) for numbers in (labels, neighbour))
        return self.share * own + (1 - self.share) * other


def draw_mix(config: AugmentConfig, size: int, seed: int, step: int) -> Mix | None:
    """The mix of a step, which depends on the seed and the step alone; None when both kinds are off.

    With both on, each step takes one or the other with the same chance. CutMix boxes have the frame's shape and a
    random centre; the share is what they really leave, since a part of them may lie outside.

    Args:
        config: the strengths, `mixup` and `cutmix`.
        size: S, side of the frames in pixels.
        seed: the run's seed.
        step: the step.
    """
    if not config.mixup and not config.cutmix:
        return None
    rng = generator(seed, Stream.MIX, step)
    cut = rng.random() < (0.5 if config.mixup else 1.0) if config.cutmix else False
    alpha = config.cutmix if cut else config.mixup
    share = float(rng.beta(alpha, alpha))
    if not cut:
        return Mix(share, None)
    side = size * math.sqrt(1 - share)
    edges = [(centre - side / 2, centre + side / 2) for centre in rng.uniform(0, size, 2)]
    (top, bottom), (left, right) = ((max(0, round(low)), min(size, round(high))) for low, high in edges)
    return Mix(1 - (bottom - top) * (right - left) / size**2, (top, left, bottom, right))


def neighbours(clips: int) -> Tensor:
    """For each of `clips` places the place it is mixed with: 1, 0, 3, 2, ...; an odd last one takes that before it."""
    places = torch.arange(clips) ^ 1
    return places.where(places < clips, max(0, clips - 2))


def share_of_step(batch_size: int, rank: int, count: int) -> range:
    """The places of a step's clips that process `rank` of `count` takes: neighbours are never parted.

    Raises:
        ValueError: if there are not two clips for each process.
    """
    if count == 1:
        return range(batch_size)
    pairs = batch_size // 2
    if pairs < count:
        raise ValueError(f"optim.batch_size = {batch_size}: {count} processes need at least {2 * count}, a pair each")
    stop = batch_size if rank == count - 1 else 2 * (pairs * (rank + 1) // count)
    return range(2 * (pairs * rank // count), stop)
