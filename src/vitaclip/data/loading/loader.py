"""Batches of samples, made ahead in worker processes; their content does not depend on how many there are.

Axes: B videos, V views of a video, T frames, S x S pixels.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from vitaclip.data.labels import label_tensor
from vitaclip.data.loading.dataset import EvalDataset
from vitaclip.data.loading.prefetch import Maker, prefetch
from vitaclip.data.loading.quarantine import Quarantine
from vitaclip.data.loading.samples import Sample, TrainSamples

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class TrainBatch:
    """The samples of one optimiser step, or those of them that one process of several takes."""

    step: int
    video: Tensor
    """uint8 (B, 1, T, 3, S, S), or what stands for it in a training on features."""
    labels: Tensor
    """int64 (B,) class indices; (B, M) where videos of the list have several, see `label_tensor`."""
    rows: tuple[int, ...]
    """Row number of each video."""
    skipped: tuple[str, ...]
    """Broken videos that others stand in for, one line each."""


@dataclass(frozen=True)
class EvalBatch:
    """Some rows of an evaluation. Broken videos are in `left_out` and nowhere else."""

    video: Tensor
    """uint8 (B, V, T, 3, S, S); B may be 0."""
    labels: Tensor
    """int64 (B,) class indices; (B, M) where videos of the list have several, see `label_tensor`."""
    rows: tuple[int, ...]
    """Row number of each video."""
    left_out: tuple[int, ...]
    """Row numbers of the broken videos."""
    skipped: tuple[str, ...]
    """What is wrong with each of them."""


def train_batches(
    dataset: TrainSamples,
    first_step: int,
    last_step: int,
    batch_size: int,
    workers: int = 0,
    places: range | None = None,
    time_limit_seconds: float = 0.0,
) -> Iterator[TrainBatch]:
    """Batches of steps `first_step .. last_step - 1`, in this order.

    A batch depends on the data set, its step and `batch_size`: not on `workers`, nor on where one starts.

    Args:
        dataset: the samples.
        first_step: 0, or the step to go on from.
        last_step: the step to stop before.
        batch_size: B of the whole step.
        workers: processes that decode ahead; 0 = decode here.
        places: those of the step's places that are made here, in `0 .. B - 1`. None: all.
        time_limit_seconds: for one video. One that takes a worker longer, or ends it, is broken. 0: none.

    Raises:
        ValueError: a size that makes no sense; later, if worker processes end again and again.
        VideoError: a broken video, as the data set's `on_error` says.
    """
    _check_sizes(batch_size, workers)
    if first_step < 0:
        raise ValueError(f"first_step = {first_step}: must be 0 or more")
    maker = _TrainMaker(dataset, batch_size, range(batch_size) if places is None else places)
    return _load(maker, range(first_step, last_step), workers, time_limit_seconds)


def eval_batches(
    dataset: EvalDataset,
    batch_size: int,
    workers: int = 0,
    rank: int = 0,
    count: int = 1,
    time_limit_seconds: float = 0.0,
) -> Iterator[EvalBatch]:
    """All rows of the data set, each once, in their order; the last batch may be smaller.

    Of `count` processes number `rank` gets its share: whole batches that follow each other, perhaps none. The other
    arguments are those of `train_batches`.

    Raises:
        ValueError: a size that makes no sense; later, if worker processes end again and again.
        VideoError: a broken video, as the data set's `on_error` says.
    """
    _check_sizes(batch_size, workers)
    batches = -(-len(dataset) // batch_size)
    own = range(batches * rank // count, batches * (rank + 1) // count)
    return _load(_EvalMaker(dataset, batch_size), own, workers, time_limit_seconds)


@dataclass(frozen=True)
class _TrainMaker:
    dataset: TrainSamples
    batch_size: int
    places: range

    @property
    def quarantine(self) -> Quarantine:
        return self.dataset.quarantine

    def make(self, number: int) -> TrainBatch:
        samples = [self.dataset.sample(number, i, self.batch_size) for i in self.places]
        videos = [sample.video for sample in samples if sample.video is not None]
        return TrainBatch(
            number, torch.stack(videos), _labels(samples, self.dataset.most_labels), _rows(samples), _skipped(samples)
        )


@dataclass(frozen=True)
class _EvalMaker:
    dataset: EvalDataset
    batch_size: int

    @property
    def quarantine(self) -> Quarantine:
        return self.dataset.quarantine

    def make(self, number: int) -> EvalBatch:
        start = number * self.batch_size
        stop = min(start + self.batch_size, len(self.dataset))
        samples = [self.dataset.sample(index) for index in range(start, stop)]
        whole = [sample for sample in samples if sample.video is not None]
        videos = [sample.video for sample in whole if sample.video is not None]
        # With every video broken there is nothing to stack, yet the shape stays a batch's.
        video = torch.stack(videos) if videos else torch.empty((0, *self.dataset.video_shape), dtype=torch.uint8)
        left_out = tuple(sample.index for sample in samples if sample.video is None)
        return EvalBatch(video, _labels(whole, self.dataset.most_labels), _rows(whole), left_out, _skipped(samples))


def _load(maker: Maker[BatchT], numbers: Sequence[int], workers: int, time_limit_seconds: float) -> Iterator[BatchT]:
    if workers:
        return prefetch(maker, numbers, workers, time_limit_seconds or math.inf)
    return map(maker.make, numbers)


def _labels(samples: Sequence[Sample], most: int) -> Tensor:
    return label_tensor([sample.labels for sample in samples], most)


def _rows(samples: Sequence[Sample]) -> tuple[int, ...]:
    return tuple(sample.index for sample in samples)


def _skipped(samples: Sequence[Sample]) -> tuple[str, ...]:
    return tuple(line for sample in samples for line in sample.skipped)


def _check_sizes(batch_size: int, workers: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size = {batch_size}: must be at least 1")
    if workers < 0:
        raise ValueError(f"workers = {workers}: must be 0 (decode in this process) or more")
