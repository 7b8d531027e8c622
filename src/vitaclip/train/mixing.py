"""MixUp (Zhang et al., 2018) and CutMix (Yun et al., 2019) on clips, which mix the clips of a step in pairs.

Each clip is mixed with its neighbour in the batch, whose order is random already; all clips and frames of a step share
one draw. CutMix copies bytes. MixUp blends after normalisation, on the device, so that nothing is rounded. Label
smoothing is the loss's (`losses.py`).

Axes: b clips of a micro-batch, T frames, S x S pixels, M labels of a video, K classes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vitaclip.data.config import AugmentConfig
from vitaclip.data.labels import multi_hot
from vitaclip.data.rng import Stream, generator


@dataclass(frozen=True)
class Mix:
    """How each clip of one step is mixed with its neighbour."""

    lam: float
    """Weight of the clip itself, 0 to 1, in pixels and in targets."""
    box: tuple[int, int, int, int] | None
    """CutMix: top, left, bottom, right of the box that the neighbour covers, in pixels. None: MixUp."""

    def pixels(self, video: Tensor, neighbour: Tensor, normalize: Callable[[Tensor], Tensor]) -> Tensor:
        """Mix two batches of uint8 clips (b, T, 3, S, S): CutMix gives uint8, MixUp normalised floats."""
        if self.box is None:
            return self.lam * normalize(video) + (1 - self.lam) * normalize(neighbour)
        top, left, bottom, right = self.box
        mixed = video.clone()
        mixed[..., top:bottom, left:right] = neighbour[..., top:bottom, left:right]
        return mixed

    def targets(self, labels: Tensor, neighbour: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
        """Mix two batches of labels, (b,) or (b, M): the weight of each class, (b, K)."""
        own, other = (multi_hot(numbers, num_classes).to(dtype) for numbers in (labels, neighbour))
        return self.lam * own + (1 - self.lam) * other


def draw_mix(config: AugmentConfig, size: int, seed: int, step: int) -> Mix | None:
    """Draw the mix of a step, which depends on the seed and the step alone; None if both kinds are off.

    If both are on, each step takes one of them, with equal probability. CutMix boxes have the frame's shape and a
    random centre. A part of a box may lie outside the frame, so `lam` is the area that it really leaves.
    """
    if not config.mixup and not config.cutmix:
        return None
    rng = generator(seed, Stream.MIX, step)
    cut = rng.random() < (0.5 if config.mixup else 1.0) if config.cutmix else False
    alpha = config.cutmix if cut else config.mixup
    lam = float(rng.beta(alpha, alpha))
    if not cut:
        return Mix(lam, None)
    side = size * math.sqrt(1 - lam)
    edges = [(centre - side / 2, centre + side / 2) for centre in rng.uniform(0, size, 2)]
    (top, bottom), (left, right) = ((max(0, round(low)), min(size, round(high))) for low, high in edges)
    return Mix(1 - (bottom - top) * (right - left) / size**2, (top, left, bottom, right))


def neighbours(clips: int) -> Tensor:
    """For each of `clips` positions the one it is mixed with: 1, 0, 3, 2, ...; an odd last one takes that before it."""
    positions = torch.arange(clips) ^ 1
    return positions.where(positions < clips, max(0, clips - 2))
