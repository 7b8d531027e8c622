"""From rows of a list to samples: which frames, decoded, cropped, augmented.

Axes: V views of a video, T frames, S x S pixels of a crop; videos are uint8 (V, T, 3, S, S).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vitaclip.data.container import VideoError
from vitaclip.data.draws import Purpose, generator
from vitaclip.data.frame_folder import open_clip
from vitaclip.data.index_cache import IndexCache
from vitaclip.data.lists import VideoRow
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.selection import balanced_order
from vitaclip.data.shards.member import VideoPath
from vitaclip.data.train_transform import OneClip, TrainTransform
from vitaclip.data.transforms import resize_short_side, spatial_views

OnError = Literal["raise", "skip"]

_TRIES = 10


@dataclass(frozen=True)
class Sample:
    """One video, ready to be put into a batch."""

    video: Tensor | None
    """uint8 (V, T, 3, S, S); None for a broken video in an evaluation that leaves those out."""
    label: int
    """Class number."""
    index: int
    """Number of the row it comes from."""
    skipped: tuple[str, ...] = ()
    """What was wrong with the videos passed over on the way, one line each."""


class TrainDataset:
    """Training samples. Sample i of step s depends on (seed, s, i) and the batch size alone."""

    def __init__(
        self,
        rows: Sequence[VideoRow],
        sampling: FrameSampling,
        transform: TrainTransform,
        seed: int,
        on_error: OnError = "raise",
        balance_classes: bool = False,
        index_cache: IndexCache | None = None,
    ) -> None:
        """Args:
        rows: the videos.
        sampling: which frames make a clip.
        transform: what happens to a clip.
        seed: not negative; another seed gives another order and other draws.
        on_error: "raise" stops at a broken video; "skip" takes another in its place and the sample says so.
        balance_classes: show every class equally often in an epoch.
        index_cache: where to keep what the files' packets say.
        """
        _check_rows(rows)
        _check_on_error(on_error)
        if seed < 0:
            raise ValueError(f"seed = {seed}: must be 0 or more")
        self.rows, self.sampling, self.transform = tuple(rows), sampling, transform
        self.seed, self.on_error, self.balance_classes = seed, on_error, balance_classes
        self.index_cache = index_cache
        self._order: tuple[int, np.ndarray] | None = None  # of the epoch used last

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, step: int, i: int, batch_size: int) -> Sample:
        """Sample `i` of the `batch_size` ones of optimiser step `step`, with video (1, T, 3, S, S).

        Positions `step * batch_size + i` run through epochs of all rows (or of as many, balanced), each in a random
        order of its own.

        Raises:
            VideoError: the video is broken and `on_error` is "raise"; or ten videos in a row are broken.
        """
        skipped: list[str] = []
        for index, rng in self._tries(step, i, batch_size):
            row = self.rows[index]
            try:
                clip = self._clip(row.path, rng)
            except VideoError as error:
                if self.on_error == "raise":
                    raise _located(row, error) from error
                skipped.append(str(_located(row, error)))
                continue
            return Sample(clip.unsqueeze(0), row.label, index, tuple(skipped))
        raise VideoError(f"{_TRIES} videos in a row are broken, check the data; the last: {skipped[-1]}")

    def _tries(self, step: int, i: int, batch_size: int) -> Iterator[tuple[int, np.random.Generator]]:
        """The row that is due with its generator, then the rows that stand in for broken ones."""
        epoch, position = divmod(step * batch_size + i, len(self.rows))
        yield int(self._epoch_order(epoch)[position]), generator(self.seed, Purpose.SAMPLE, step, i, 0)
        for attempt in range(1, _TRIES):
            rng = generator(self.seed, Purpose.SAMPLE, step, i, attempt)
            yield int(rng.integers(len(self.rows))), rng

    def _clip(self, path: VideoPath, rng: np.random.Generator) -> Tensor:
        with open_clip(path, self.index_cache) as video:
            indices = self.sampling.train(video.num_frames, rng)
            transform = OneClip(self.transform, rng)
            frames = video.frames(indices, transform.each)
        return transform.finish(frames).contiguous()

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            rng = generator(self.seed, Purpose.ORDER, epoch)
            if self.balance_classes:
                order = balanced_order(np.array([row.label for row in self.rows]), rng)
            else:
                order = rng.permutation(len(self.rows))
            self._order = epoch, order
        return self._order[1]


class EvalDataset:
    """Test samples: the same fixed views of every video, every time."""

    def __init__(
        self,
        rows: Sequence[VideoRow],
        sampling: FrameSampling,
        temporal_views: int = 3,
        spatial_crops: int = 1,
        size: int = 224,
        on_error: OnError = "raise",
        crop: float = 1.0,
        index_cache: IndexCache | None = None,
    ) -> None:
        """Args:
        rows: the videos.
        sampling: which frames make a clip.
        temporal_views: clips per video, spread over its length.
        spatial_crops: crops per clip, spread along the longer side.
        size: S, side of a crop.
        on_error: "raise" stops at a broken video; "skip" gives a sample without video.
        crop: side of a crop over the frames' shorter side.
        index_cache: where to keep what the files' packets say.
        """
        _check_rows(rows)
        _check_on_error(on_error)
        _check_views(temporal_views, spatial_crops, size)
        self.rows, self.sampling = tuple(rows), sampling
        self.temporal_views, self.spatial_crops, self.size = temporal_views, spatial_crops, size
        self.on_error, self.crop, self.index_cache = on_error, crop, index_cache

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def video_shape(self) -> tuple[int, int, int, int, int]:
        """(V, T, 3, S, S) of every sample."""
        views = self.temporal_views * self.spatial_crops
        return views, self.sampling.num_frames, 3, self.size, self.size

    def sample(self, index: int) -> Sample:
        """Row `index` with video (V, T, 3, S, S), V = temporal views x crops, clip by clip.

        Raises:
            VideoError: the video is broken and `on_error` is "raise".
        """
        row = self.rows[index]
        try:
            views = self.temporal_views, self.spatial_crops, self.size, self.crop
            video = load_views(row.path, self.sampling, *views, index_cache=self.index_cache)
        except VideoError as error:
            if self.on_error == "raise":
                raise _located(row, error) from error
            return Sample(None, row.label, index, (str(_located(row, error)),))
        return Sample(video, row.label, index)


def load_views(
    path: str | VideoPath,
    sampling: FrameSampling,
    temporal_views: int = 3,
    spatial_crops: int = 1,
    size: int = 224,
    crop: float = 1.0,
    index_cache: IndexCache | None = None,
) -> Tensor:
    """The test-time views of one video: frames resized so that a crop of S is `crop` of their shorter side.

    Returns:
        uint8 (V, T, 3, S, S), V = temporal_views * spatial_crops; the crops of the first clip come first.

    Raises:
        VideoError: the file cannot give the frames.
    """
    _check_views(temporal_views, spatial_crops, size)
    with open_clip(path, index_cache) as video:
        indices = sampling.views(video.num_frames, temporal_views)
        # Clips may share frames: each is decoded and resized once.
        distinct, places = np.unique(indices, return_inverse=True)
        frames = video.frames(distinct, partial(resize_short_side, size=round(size / crop)))
    crops = spatial_views(frames, size, spatial_crops)  # (crops, distinct frames, 3, S, S)
    views = crops[:, torch.from_numpy(places.reshape(indices.shape))]  # (crops, clips, T, 3, S, S)
    return views.transpose(0, 1).flatten(0, 1).contiguous()


def _located(row: VideoRow, error: VideoError) -> VideoError:
    """The error with the row's place in front, unless the place is the path that it begins with."""
    return error if row.source == str(row.path) else VideoError(f"{row.source}: {error}")


def _check_rows(rows: Sequence[VideoRow]) -> None:
    if not rows:
        raise ValueError("the list of videos is empty: give at least one")


def _check_on_error(on_error: str) -> None:
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error = {on_error!r}: choose raise or skip")


def _check_views(temporal_views: int, spatial_crops: int, size: int) -> None:
    for name, value in (("temporal_views", temporal_views), ("spatial_crops", spatial_crops), ("size", size)):
        if value < 1:
            raise ValueError(f"{name} = {value}: must be at least 1")
