"""Samples of a data set, each a function of its number, and batches of them, made ahead in worker processes; their
content does not depend on how many there are.

Axes: B videos, V views of a video, T frames, S x S pixels.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitaclip.data.labels import Labels, label_tensor, single_labels
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.clips import ClipReader, EvalViews
from vitaclip.data.reading.container import VideoError, as_video_error
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.sampling import Stream, generator
from vitaclip.data.workers import Outcome, WorkerPool, reading

BatchT = TypeVar("BatchT")
ItemT = TypeVar("ItemT")
JobT = TypeVar("JobT")
OnError = Literal["raise", "skip"]
ResultT = TypeVar("ResultT")

_MAX_TRIES = 10
_BATCHES_AHEAD = 2
"""Batches that each worker has to make, at most."""
_MAX_FAILURES = 10
"""Workers that may be lost over one batch. Beyond, it is the machine, or all of the data."""


@dataclass(frozen=True)
class Sample:
    """One video, ready to be put into a batch."""

    video: Tensor | None
    """uint8 (T, 3, S, S) in training, (V, T, 3, S, S) in a test, or features in their place; None for a broken video of
    a test that leaves those out."""
    labels: Labels
    """Class indices."""
    index: int
    """Index of the video in the list."""
    skipped: tuple[str, ...] = ()
    """What was wrong with the videos that were skipped on the way, one line each."""
    note: str = ""
    """What is to be said of this video, see `LoadedVideo`."""


class _Videos:
    """The videos of a data set, and what is done about broken ones."""

    def __init__(self, samples: Sequence[VideoSample], on_error: OnError) -> None:
        if not samples:
            raise ValueError("the list of videos is empty: give at least one")
        self.samples, self.on_error = tuple(samples), on_error
        self.most_labels = max(len(sample.labels) for sample in samples)
        self.refused: dict[int, str] = {}
        """What is wrong with each video that hung or killed the worker that read it, by its index. Such videos are
        refused from then on: they cost the time limit, or a worker, once and not in every epoch."""

    def __len__(self) -> int:
        return len(self.samples)

    def _read(self, index: int, read: Callable[[VideoPath], ResultT]) -> ResultT | str:
        """What is read of a video, or what is wrong with it if broken videos are skipped."""
        sample = self.samples[index]
        found = attempt(read, (index, sample.path))
        if not isinstance(found, VideoError):
            return found
        if self.on_error == "raise":
            raise VideoError(sample.located(str(found))) from found
        return sample.located(str(found))


class TrainDataset(_Videos):
    """Training samples. Sample i of step s depends on (seed, s, i) and the batch size alone."""

    def __init__(
        self,
        samples: Sequence[VideoSample],
        clips: ClipReader,
        seed: int,
        on_error: OnError = "raise",
        balance_classes: bool = False,
    ) -> None:
        """Args:
        samples: the videos.
        clips: makes a clip of a video.
        seed: not negative; another seed gives another order and other draws.
        on_error: "raise" stops at a broken video; "skip" takes another in its place and the sample says so.
        balance_classes: show every class equally often in an epoch.
        """
        super().__init__(samples, on_error)
        self.clips, self.seed = clips, seed
        all_labels = [sample.labels for sample in self.samples]
        self._balanced = single_labels(all_labels, "data.balance_classes") if balance_classes else None
        self._order: tuple[int, np.ndarray] | None = None  # of the epoch used last

    def __getitem__(self, position: tuple[int, int, int]) -> Sample:
        """Sample `i` of the `batch_size` ones of optimiser step `step`: `dataset[step, i, batch_size]`.

        Positions `step * batch_size + i` run through epochs of all videos (or of as many, balanced), each in a random
        order of its own.

        Raises:
            VideoError: the video is broken and `on_error` is "raise"; or ten videos in a row are broken.
        """
        skipped: list[str] = []
        for index, rng in self.candidates(*position):
            clip = self._read(index, partial(self.clips.read, rng=rng))
            if isinstance(clip, Tensor):
                return Sample(clip, self.samples[index].labels, index, tuple(skipped))
            skipped.append(clip)
        raise VideoError(
            f"videos are broken again and again; `vitaclip data scan` finds all of them, such as {skipped[-1]}"
        )

    def candidates(self, step: int, i: int, batch_size: int) -> Iterator[tuple[int, np.random.Generator]]:
        """The index of the video that is due, with its generator; then those that stand in for broken videos."""
        epoch, position = divmod(step * batch_size + i, len(self.samples))
        for attempt in range(_MAX_TRIES):
            rng = generator(self.seed, Stream.SAMPLE, step, i, attempt)
            yield int(rng.integers(len(self.samples)) if attempt else self._epoch_order(epoch)[position]), rng

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            rng, labels = generator(self.seed, Stream.ORDER, epoch), self._balanced
            self._order = epoch, rng.permutation(len(self)) if labels is None else balanced_order(labels, rng)
        return self._order[1]


class EvalDataset(_Videos):
    """Test samples: the same views of every video, every time."""

    def __init__(self, samples: Sequence[VideoSample], views: EvalViews, on_error: OnError = "raise") -> None:
        """`on_error` says what a broken video does: "raise" stops, "skip" gives a sample without video."""
        super().__init__(samples, on_error)
        self.views = views

    def __getitem__(self, index: int) -> Sample:
        """The views of video `index` of the list.

        Raises:
            VideoError: the video is broken and `on_error` is "raise".
        """
        found, labels = self._read(index, self.views.load), self.samples[index].labels
        if isinstance(found, str):
            return Sample(None, labels, index, (found,))
        return Sample(found.views, labels, index, note=found.note)


def attempt(read: Callable[[ItemT], ResultT], numbered: tuple[int, ItemT]) -> ResultT | VideoError:
    """What is read of a video or a part of one, whose number tells it from the others, or why it cannot be read."""
    number, path = numbered
    try:
        with as_video_error(path), reading(number, path):
            return read(path)
    except VideoError as error:
        return error


def balanced_order(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """An epoch for samples of these classes, (N,): N indices in random order, every class equally often (to one).

    Samples of small classes repeat, each as often as the others of its class (to one); some of large ones sit out.
    """
    classes = np.unique(labels)
    share, rest = divmod(len(labels), len(classes))
    one_more = set(rng.permutation(classes)[:rest].tolist())
    drawn: list[NDArray[np.int64]] = []
    for label in classes.tolist():
        of_class = np.flatnonzero(labels == label)
        repeats, remainder = divmod(share + (label in one_more), len(of_class))
        drawn += [np.tile(of_class, repeats), rng.choice(of_class, remainder, replace=False)]
    return rng.permutation(np.concatenate(drawn))


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
    read: Callable[[ItemT], ResultT],
    paths: Iterable[ItemT],
    workers: int = 0,
    ahead: int = 1,
    time_limit_seconds: float = 0.0,
) -> Iterator[ResultT | VideoError]:
    """What is read of each video, in order, or the error of one that cannot be read.

    Args:
        read: can be pickled.
        paths: the videos, or parts of them whose text is the path; there may be no end of them, since none is taken
            further ahead than it says.
        workers: processes that read; 0 = read here.
        ahead: videos that may be read and not yet asked for, at least; each worker has two in any case.
        time_limit_seconds: see `train_batches`.
    """
    return _load(partial(attempt, read), {}, enumerate(paths), workers, time_limit_seconds, ahead)


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
