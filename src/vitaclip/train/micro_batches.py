"""From a step's batch to what the model sees: each rank takes its clips, mixes them in pairs if asked (`mixing.py`),
and splits them into micro-batches with their dropout masks.

Axes: b clips of a micro-batch, T frames, S x S pixels, K classes, D embedding.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from vitaclip.data.loading.loader import TrainBatch
from vitaclip.data.rng import Stream, generator
from vitaclip.model import VideoModel
from vitaclip.train.config import TrainConfig
from vitaclip.train.mixing import draw_mix, neighbours


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
