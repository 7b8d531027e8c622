"""Data sets: an index goes in, a sample comes out, whatever was asked for before.

Axes: V views of a video, T frames, S x S pixels of a crop.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vitaclip.data.labels import Labels, single_labels
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.clips import ClipReader, EvalViews
from vitaclip.data.reading.container import VideoError, as_video_error
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.rng import Stream, generator
from vitaclip.data.workers import reading

OnError = Literal["raise", "skip"]
ResultT = TypeVar("ResultT")

_MAX_TRIES = 10


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
        found = attempt(read, index, sample.path)
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


def attempt(read: Callable[[VideoPath], ResultT], number: int, path: VideoPath) -> ResultT | VideoError:
    """What is read of a video, whose number tells it from the others, or why it cannot be read."""
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
