"""From a step's batch to what the model sees: each rank takes its clips, mixes them in pairs if asked, and splits them
into micro-batches with their dropout masks.

MixUp (Zhang et al., 2018) and CutMix (Yun et al., 2019) mix each clip with its neighbour in the batch, whose order is
random already; all clips and frames of a step share one draw. CutMix copies bytes. MixUp blends after normalisation, on
the device, so that nothing is rounded. Label smoothing is the loss's (`losses.py`).

Axes: b clips of a micro-batch, T frames, S x S pixels, M labels of a video, K classes, D embedding.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vitaclip.data.config import AugmentConfig
from vitaclip.data.labels import multi_hot
from vitaclip.data.loading.loader import TrainBatch
from vitaclip.data.rng import Stream, generator
from vitaclip.model import VideoModel
from vitaclip.training.config import TrainConfig


def rank_slice(batch_size: int, rank: int, world_size: int) -> range:
    """The positions of a step's clips that a rank takes. Clips that are mixed with each other are never separated."""
    pairs = batch_size // 2
    if world_size > max(1, pairs):
        raise ValueError(
            f"optim.batch_size = {batch_size}: {world_size} processes need at least {2 * world_size}, a pair each"
        )
    stop = batch_size if rank == world_size - 1 else 2 * (pairs * (rank + 1) // world_size)
    return range(2 * (pairs * rank // world_size), stop)


class StepMasks:
    """Draws the dropout masks of some clips of one step; each call draws further ones. They depend only on the run's
    seed, the step and the clip's position in the step's batch over all ranks, so that a resumed run continues exactly
    and any number of ranks draws the same masks.
    """

    def __init__(self, seed: int, step: int, positions: Sequence[int]) -> None:
        self._numbers = [(seed, Stream.DROPOUT, step, position) for position in positions]
        self._drawing: list[np.random.Generator] = []

    def __call__(self, count: int, rate: float) -> Tensor:
        """Factors (b, count): 0 with probability `rate`, else 1 / (1 - rate)."""
        self._drawing = self._drawing or [generator(*numbers) for numbers in self._numbers]
        kept = np.stack([drawing.random(count) >= rate for drawing in self._drawing])
        return torch.from_numpy(kept).float() / (1 - rate)


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


def micro_batches(
    batch: TrainBatch, model: VideoModel, config: TrainConfig, rank_slice: range
) -> Iterator[tuple[Tensor, Tensor, Tensor, StepMasks]]:
    """Split a batch into parts on the model's device: clips (b, T, 3, S, S), labels, targets, dropout masks.

    Clips are uint8, or normalised floats if they were blended, or features (b, D). Targets are the labels, or the
    weight of each class (b, K) for clips that are mixed with their neighbours.
    """
    num_classes = len(model.class_names)
    mix = draw_mix(config.data.augment, model.image_size, config.seed, batch.step)
    others = neighbours(len(batch.labels))
    size = config.optim.micro_batch_size or len(batch.labels)
    for start in range(0, len(batch.labels), size):
        part = slice(start, start + size)
        video, labels = batch.video[part].to(model.device), batch.labels[part].to(model.device)
        targets = labels
        if mix is not None:
            other_video, other_labels = (each[others[part]].to(model.device) for each in (batch.video, batch.labels))
            targets = mix.targets(labels, other_labels, num_classes, model.dtype)
            video = mix.pixels(video, other_video, model.backbone.normalize_pixels)
        yield video, labels, targets, StepMasks(config.seed, batch.step, rank_slice[part])
