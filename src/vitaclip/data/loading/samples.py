"""What a sample is, and which videos the samples of a training step are.

Axes: V views of a video, T frames, S x S pixels of a crop.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from vitaclip.data.labels import Labels, single_labels
from vitaclip.data.lists.selection import balanced_order
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.quarantine import Quarantine
from vitaclip.data.reading.container import VideoError
from vitaclip.data.rng import Stream, generator

OnError = Literal["raise", "skip"]

_TRIES = 10


@dataclass(frozen=True)
class Sample:
    """One video, ready to be put into a batch."""

    video: Tensor | None
    """uint8 (V, T, 3, S, S), or what stands for it in a training on features; None for a broken video in an evaluation
    that leaves those out."""
    labels: Labels
    """Class indices."""
    index: int
    """Number of the row it comes from."""
    skipped: tuple[str, ...] = ()
    """What was wrong with the videos passed over on the way, one line each."""


class TrainSamples:
    """Training samples, whatever a clip is. Sample i of step s depends on (seed, s, i) and the batch size alone."""

    def __init__(
        self, rows: Sequence[VideoSample], seed: int, on_error: OnError = "raise", balance_classes: bool = False
    ) -> None:
        """Args:
        rows: the videos.
        seed: not negative; another seed gives another order and other draws.
        on_error: "raise" stops at a broken video; "skip" takes another in its place and the sample says so.
        balance_classes: show every class equally often in an epoch.
        """
        check_rows(rows)
        check_on_error(on_error)
        if seed < 0:
            raise ValueError(f"seed = {seed}: must be 0 or more")
        self.rows, self.seed, self.on_error, self.balance_classes = tuple(rows), seed, on_error, balance_classes
        self.quarantine, self.most_labels = Quarantine(self.rows), most_labels(self.rows)
        if balance_classes:
            self._single_labels = single_labels([row.labels for row in self.rows], "data.balance_classes")
        self._order: tuple[int, np.ndarray] | None = None  # of the epoch used last

    def clip(self, index: int, rng: np.random.Generator) -> Tensor:
        """A clip of row `index`; every draw comes from `rng`.

        Raises:
            VideoError: the video is broken.
        """
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, step: int, i: int, batch_size: int) -> Sample:
        """Sample `i` of the `batch_size` ones of optimiser step `step`, with one clip, such as (1, T, 3, S, S).

        Positions `step * batch_size + i` run through epochs of all rows (or of as many, balanced), each in a random
        order of its own.

        Raises:
            VideoError: the video is broken and `on_error` is "raise"; or ten videos in a row are broken.
        """
        skipped: list[str] = []
        for index, rng in self._tries(step, i, batch_size):
            row = self.rows[index]
            try:
                with self.quarantine.reading(index):
                    clip = self.clip(index, rng)
            except VideoError as error:
                if self.on_error == "raise":
                    raise located(row, error) from error
                skipped.append(str(located(row, error)))
                continue
            return Sample(clip.unsqueeze(0), row.labels, index, tuple(skipped))
        raise VideoError(f"{_TRIES} videos in a row are broken, check the data; the last: {skipped[-1]}")

    def _tries(self, step: int, i: int, batch_size: int) -> Iterator[tuple[int, np.random.Generator]]:
        """The row that is due with its generator, then the rows that stand in for broken ones."""
        epoch, position = divmod(step * batch_size + i, len(self.rows))
        yield int(self._epoch_order(epoch)[position]), generator(self.seed, Stream.SAMPLE, step, i, 0)
        for attempt in range(1, _TRIES):
            rng = generator(self.seed, Stream.SAMPLE, step, i, attempt)
            yield int(rng.integers(len(self.rows))), rng

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            rng = generator(self.seed, Stream.ORDER, epoch)
            if self.balance_classes:
                order = balanced_order(self._single_labels, rng)
            else:
                order = rng.permutation(len(self.rows))
            self._order = epoch, order
        return self._order[1]


def located(row: VideoSample, error: VideoError) -> VideoError:
    """The error with the row's place in front, unless the place is the path that it begins with."""
    return error if row.source == str(row.path) else VideoError(f"{row.source}: {error}")


def most_labels(rows: Sequence[VideoSample]) -> int:
    """The number of labels of the video that has most."""
    return max(len(row.labels) for row in rows)


def check_rows(rows: Sequence[VideoSample]) -> None:
    """Refuse an empty list."""
    if not rows:
        raise ValueError("the list of videos is empty: give at least one")


def check_on_error(on_error: str) -> None:
    """Refuse an unknown way."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error = {on_error!r}: choose raise or skip")
