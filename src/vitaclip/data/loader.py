"""Batches of samples, made ahead in worker processes; their content does not depend on how many there are.

Axes: B videos, V views of a video, T frames, S x S pixels.
"""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vitaclip.data.container import VideoError
from vitaclip.data.dataset import EvalDataset
from vitaclip.data.samples import Sample, TrainSamples

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class TrainBatch:
    """The samples of one optimiser step, or those of them that one process of several takes."""

    step: int
    video: Tensor
    """uint8 (B, 1, T, 3, S, S), or what stands for it in a training on features."""
    labels: Tensor
    """int64 (B,), class numbers."""
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
    """int64 (B,), class numbers."""
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

    Raises:
        ValueError: a size that makes no sense.
        VideoError: a broken video, as the data set's `on_error` says.
    """
    _check_sizes(batch_size, workers)
    if first_step < 0:
        raise ValueError(f"first_step = {first_step}: must be 0 or more")
    maker = _TrainMaker(dataset, batch_size, range(batch_size) if places is None else places)
    return _load(maker, range(first_step, last_step), workers)


def eval_batches(
    dataset: EvalDataset, batch_size: int, workers: int = 0, rank: int = 0, count: int = 1
) -> Iterator[EvalBatch]:
    """All rows of the data set, each once, in their order; the last batch may be smaller.

    Of `count` processes number `rank` gets its share: whole batches that follow each other, perhaps none.

    Raises:
        ValueError: a size that makes no sense.
        VideoError: a broken video, as the data set's `on_error` says.
    """
    _check_sizes(batch_size, workers)
    batches = -(-len(dataset) // batch_size)
    own = range(batches * rank // count, batches * (rank + 1) // count)
    return _load(_EvalMaker(dataset, batch_size), own, workers)


class _Maker(Dataset[BatchT | VideoError], Generic[BatchT]):
    """Makes batch number n. A broken video is returned: raised in a worker it would lose its one line."""

    def make(self, number: int) -> BatchT:
        raise NotImplementedError

    def __getitem__(self, number: int) -> BatchT | VideoError:
        try:
            return self.make(number)
        except VideoError as error:
            return VideoError(str(error))


class _TrainMaker(_Maker[TrainBatch]):
    def __init__(self, dataset: TrainSamples, batch_size: int, places: range) -> None:
        self.dataset, self.batch_size, self.places = dataset, batch_size, places

    def make(self, number: int) -> TrainBatch:
        samples = [self.dataset.sample(number, i, self.batch_size) for i in self.places]
        videos = [sample.video for sample in samples if sample.video is not None]
        return TrainBatch(number, torch.stack(videos), _labels(samples), _rows(samples), _skipped(samples))


class _EvalMaker(_Maker[EvalBatch]):
    def __init__(self, dataset: EvalDataset, batch_size: int) -> None:
        self.dataset, self.batch_size = dataset, batch_size

    def make(self, number: int) -> EvalBatch:
        start = number * self.batch_size
        stop = min(start + self.batch_size, len(self.dataset))
        samples = [self.dataset.sample(index) for index in range(start, stop)]
        whole = [sample for sample in samples if sample.video is not None]
        videos = [sample.video for sample in whole if sample.video is not None]
        # With every video broken there is nothing to stack, yet the shape stays a batch's.
        video = torch.stack(videos) if videos else torch.empty((0, *self.dataset.video_shape), dtype=torch.uint8)
        left_out = tuple(sample.index for sample in samples if sample.video is None)
        return EvalBatch(video, _labels(whole), _rows(whole), left_out, _skipped(samples))


def _load(maker: _Maker[BatchT], numbers: Sequence[int], workers: int) -> Iterator[BatchT]:
    loader = DataLoader(
        maker,
        batch_size=None,  # the maker makes whole batches
        sampler=numbers,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # else each pass would draw from the global generator
    )
    for made in loader:
        if isinstance(made, VideoError):
            raise made
        yield made


def _as_it_is(batch: BatchT) -> BatchT:
    return batch


def _start_worker(worker: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C, and on clusters SIGTERM, reaches the whole process group; the main process alone answers it: it may need
    # the batches on their way, and then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _labels(samples: Sequence[Sample]) -> Tensor:
    return torch.tensor([sample.label for sample in samples], dtype=torch.int64)


def _rows(samples: Sequence[Sample]) -> tuple[int, ...]:
    return tuple(sample.index for sample in samples)


def _skipped(samples: Sequence[Sample]) -> tuple[str, ...]:
    return tuple(line for sample in samples for line in sample.skipped)


def _check_sizes(batch_size: int, workers: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size = {batch_size}: must be at least 1")
    if workers < 0:
        raise ValueError(f"workers = {workers}: must be 0 (decode in this process) or more")
