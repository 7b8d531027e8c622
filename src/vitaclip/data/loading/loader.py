"""Batches of samples, made ahead in worker processes; their content does not depend on how many there are.

Axes: B videos, V views of a video, T frames, S x S pixels.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from vitaclip.data.labels import label_tensor
from vitaclip.data.loading.dataset import EvalDataset, Sample, TrainDataset, attempt
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.workers import Outcome, WorkerPool

BatchT = TypeVar("BatchT")
JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

_BATCHES_AHEAD = 2
"""Batches that each worker has to make, at most."""
_MAX_FAILURES = 10
"""Workers that may be lost over one batch. Beyond, it is the machine, or all of the data."""


@dataclass(frozen=True)
class TrainBatch:
    """The samples of one optimiser step, or those of them that one process of several takes."""

    step: int
    video: Tensor
    """uint8 (B, T, 3, S, S), or features (B, ...) in a training on features."""
    labels: Tensor
    """int64 (B,) class indices; (B, M) where videos of the list have several, see `label_tensor`."""
    indices: tuple[int, ...]
    """Index of each video in the list."""
    skipped: tuple[str, ...]
    """Broken videos that others stand in for, one line each."""


@dataclass(frozen=True)
class EvalBatch:
    """Some videos of a test. Broken ones are in `skipped` and nowhere else."""

    video: Tensor
    """uint8 (B, V, T, 3, S, S); B may be 0."""
    labels: Tensor
    """As in `TrainBatch`."""
    indices: tuple[int, ...]
    """Index of each video in the list."""
    skipped: dict[int, str]
    """What is wrong with each broken video, by its index in the list."""
    notes: tuple[str, ...] = ()
    """What is to be said of the others: frames that could not be decoded."""


def train_batches(
    dataset: TrainDataset,
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
        dataset: makes the samples.
        first_step: 0, or the step to go on from.
        last_step: the step to stop before.
        batch_size: B of the whole step.
        workers: processes that decode ahead; 0 = decode here.
        places: those of the step's places that are made here, in `0 .. B - 1`. None: all.
        time_limit_seconds: for one video. One that takes a worker longer, or ends it, is broken. 0: none.

    Raises:
        ValueError: worker processes end again and again.
        VideoError: a broken video, as the data set's `on_error` says.
    """
    make = partial(_train_batch, dataset, batch_size, range(batch_size) if places is None else places)
    return _load(make, dataset.refused, range(first_step, last_step), workers, time_limit_seconds)


def eval_batches(
    dataset: EvalDataset,
    batch_size: int,
    workers: int = 0,
    rank: int = 0,
    count: int = 1,
    time_limit_seconds: float = 0.0,
) -> Iterator[EvalBatch]:
    """All videos of the data set, each once, in their order; the last batch may be smaller.

    Of `count` processes number `rank` gets whole batches that follow each other, perhaps none. The other arguments, and
    what is raised, are as for `train_batches`.
    """
    batches = -(-len(dataset) // batch_size)
    own = range(batches * rank // count, batches * (rank + 1) // count)
    return _load(partial(_eval_batch, dataset, batch_size), dataset.refused, own, workers, time_limit_seconds)


def stream_videos(
    read: Callable[[VideoPath], ResultT],
    paths: Iterable[VideoPath],
    workers: int = 0,
    ahead: int = 1,
    time_limit_seconds: float = 0.0,
) -> Iterator[ResultT | VideoError]:
    """What is read of each video, in order, or the error of one that cannot be read.

    Args:
        read: can be pickled.
        paths: the videos; there may be no end of them, since none is taken further ahead than it says.
        workers: processes that read; 0 = read here.
        ahead: videos that may be read and not yet asked for, at least; each worker has two in any case.
        time_limit_seconds: see `train_batches`.
    """
    return _load(partial(_read_numbered, read), {}, enumerate(paths), workers, time_limit_seconds, ahead)


def _read_numbered(read: Callable[[VideoPath], ResultT], numbered: tuple[int, VideoPath]) -> ResultT | VideoError:
    return attempt(read, *numbered)


def _train_batch(dataset: TrainDataset, batch_size: int, places: range, step: int) -> TrainBatch:
    samples = [dataset[step, i, batch_size] for i in places]
    return TrainBatch(step, *_collate(dataset, samples), tuple(line for sample in samples for line in sample.skipped))


def _eval_batch(dataset: EvalDataset, batch_size: int, number: int) -> EvalBatch:
    start = number * batch_size
    samples = [dataset[index] for index in range(start, min(start + batch_size, len(dataset)))]
    skipped = {sample.index: sample.skipped[0] for sample in samples if sample.video is None}
    good, notes = [sample for sample in samples if sample.video is not None], tuple(s.note for s in samples if s.note)
    return EvalBatch(*_collate(dataset, good), skipped, notes)


def _collate(dataset: TrainDataset | EvalDataset, samples: Sequence[Sample]) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Videos, labels and indices of samples that have a video."""
    videos = [sample.video for sample in samples if sample.video is not None]
    if isinstance(dataset, EvalDataset) and not videos:  # all are broken: a batch of no video keeps the usual shape
        video = torch.empty((0, *dataset.views.shape), dtype=torch.uint8)
    else:
        video = torch.stack(videos)
    labels = label_tensor([sample.labels for sample in samples], dataset.most_labels)
    return video, labels, tuple(sample.index for sample in samples)


def _load(
    make: Callable[[JobT], BatchT],
    refused: dict[int, str],
    jobs: Iterable[JobT],
    workers: int,
    time_limit: float,
    ahead: int = 1,
) -> Iterator[BatchT]:
    """The batches of these jobs, in this order, whatever happens to the workers that make them.

    A batch whose worker is lost is made again. The video that the worker was reading is among `refused` by then, and
    passed over like any other that cannot be read.
    """
    if not workers:
        yield from map(make, jobs)
        return
    most = max(_BATCHES_AHEAD * workers, ahead)
    waiting, due, made, failures = iter(jobs), deque[JobT](), dict[JobT, Outcome[JobT, BatchT]](), Counter[JobT]()
    with WorkerPool(make, workers, time_limit or math.inf, refused) as pool:
        while True:
            for job in islice(waiting, max(0, most - pool.pending - len(made))):
                due.append(job)
                pool.submit(job)
            if not due:
                return
            while due[0] not in made:
                for outcome in pool.collect():
                    if not outcome.is_lost:
                        made[outcome.item] = outcome
                        continue
                    failures[outcome.item] += 1
                    if failures[outcome.item] == _MAX_FAILURES:
                        raise ValueError(
                            f"{_MAX_FAILURES} workers were lost over one batch; the last {outcome.error}, else find the"
                            " bad files with `vitaclip data scan`"
                        )
                    pool.submit(outcome.item)
            batch = made.pop(due.popleft())
            if batch.error:
                raise batch.error
            assert batch.result is not None
            yield batch.result
