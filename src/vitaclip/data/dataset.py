"""From rows of a list to samples: which frames, decoded, cropped, augmented.

Axes: V views of a video, T frames, S x S pixels of a crop; videos are uint8 (V, T, 3, S, S).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vitaclip.config import AugmentConfig, require
from vitaclip.data.container import VideoError
from vitaclip.data.decode import open_video
from vitaclip.data.lists import VideoRow
from vitaclip.data.randaugment import RandAugment, parse_randaugment
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.transforms import flip, random_resized_crop, resize_short_side, spatial_views

OnError = Literal["raise", "skip"]

_TRIES = 10
# Purposes of random draws: the same seed gives each its own stream.
_ORDER, _SAMPLE = 0, 1
# Augmentation works on whole frames; larger ones than these (320 for crops of 224) would only cost time.
_AUGMENTED_SHORT_SIDE_PER_SIZE = 10 / 7


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


@dataclass(frozen=True)
class TrainTransform:
    """What happens to a training clip: RandAugment on whole frames, random resized crop, flip.

    One draw serves all frames of a clip.
    """

    size: int = 224
    """Side of the result in pixels (S)."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """How much, and which."""

    def __post_init__(self) -> None:
        require(self.size >= 1, self, "size", "must be at least 1 pixel")
        if self.augment.randaugment:
            parse_randaugment(self.augment.randaugment)

    @cached_property
    def _randaugment(self) -> RandAugment | None:
        return parse_randaugment(self.augment.randaugment) if self.augment.randaugment else None

    def __call__(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        """Args:
            clip: uint8 (T, 3, H, W).
            rng: source of every draw.

        Returns:
            uint8 (T, 3, S, S).
        """
        if self._randaugment is not None:
            limit = round(self.size * _AUGMENTED_SHORT_SIDE_PER_SIZE)
            if min(clip.shape[-2:]) > limit:
                clip = resize_short_side(clip, limit)
            clip = self._randaugment(clip, rng)
        clip = random_resized_crop(clip, self.size, self.augment.crop_scale, self.augment.crop_ratio, rng)
        return flip(clip) if rng.random() < self.augment.flip else clip


class TrainDataset:
    """Training samples. Sample i of step s depends on (seed, s, i) and the batch size alone."""

    def __init__(
        self,
        rows: Sequence[VideoRow],
        sampling: FrameSampling,
        transform: TrainTransform,
        seed: int,
        on_error: OnError = "raise",
    ) -> None:
        """Args:
        rows: the videos.
        sampling: which frames make a clip.
        transform: what happens to a clip.
        seed: not negative; another seed gives another order and other draws.
        on_error: "raise" stops at a broken video; "skip" takes another in its place and the sample says so.
        """
        _check_rows(rows)
        _check_on_error(on_error)
        if seed < 0:
            raise ValueError(f"seed = {seed}: must be 0 or more")
        self.rows, self.sampling, self.transform = tuple(rows), sampling, transform
        self.seed, self.on_error = seed, on_error
        self._order: tuple[int, np.ndarray] | None = None  # of the epoch used last

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, step: int, i: int, batch_size: int) -> Sample:
        """Sample `i` of the `batch_size` ones of optimiser step `step`, with video (1, T, 3, S, S).

        Positions `step * batch_size + i` run through epochs of all rows, each in a random order of its own.

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
        yield int(self._epoch_order(epoch)[position]), self._generator(_SAMPLE, step, i, 0)
        for attempt in range(1, _TRIES):
            rng = self._generator(_SAMPLE, step, i, attempt)
            yield int(rng.integers(len(self.rows))), rng

    def _clip(self, path: Path, rng: np.random.Generator) -> Tensor:
        with open_video(path) as video:
            frames = video.frames(self.sampling.train(video.num_frames, rng))
        return self.transform(frames, rng).contiguous()

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self._generator(_ORDER, epoch).permutation(len(self.rows))
        return self._order[1]

    def _generator(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=purpose))


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
    ) -> None:
        """Args:
        rows: the videos.
        sampling: which frames make a clip.
        temporal_views: clips per video, spread over its length.
        spatial_crops: crops per clip, spread along the longer side.
        size: S, side of a crop, and of the frames' shorter side.
        on_error: "raise" stops at a broken video; "skip" gives a sample without video.
        """
        _check_rows(rows)
        _check_on_error(on_error)
        _check_views(temporal_views, spatial_crops, size)
        self.rows, self.sampling = tuple(rows), sampling
        self.temporal_views, self.spatial_crops, self.size = temporal_views, spatial_crops, size
        self.on_error = on_error

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
            video = load_views(row.path, self.sampling, self.temporal_views, self.spatial_crops, self.size)
        except VideoError as error:
            if self.on_error == "raise":
                raise _located(row, error) from error
            return Sample(None, row.label, index, (str(_located(row, error)),))
        return Sample(video, row.label, index)


def load_views(
    path: str | Path,
    sampling: FrameSampling,
    temporal_views: int = 3,
    spatial_crops: int = 1,
    size: int = 224,
) -> Tensor:
    """The test-time views of one video file.

    Returns:
        uint8 (V, T, 3, S, S), V = temporal_views * spatial_crops; the crops of the first clip come first.

    Raises:
        VideoError: the file cannot give the frames.
    """
    _check_views(temporal_views, spatial_crops, size)
    with open_video(path) as video:
        indices = sampling.views(video.num_frames, temporal_views)
        # Clips may share frames: each is decoded and resized once.
        distinct, places = np.unique(indices, return_inverse=True)
        frames = resize_short_side(video.frames(distinct), size)
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
