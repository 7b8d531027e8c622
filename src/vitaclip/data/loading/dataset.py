"""From rows of a list to samples: which frames, decoded, cropped, augmented.

Axes: V views of a video, T frames, S x S pixels of a crop; videos are uint8 (V, T, 3, S, S).
"""

import copy
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Self

import av
import numpy as np
import torch
from torch import Tensor

from vitaclip.config import PixelAspect, VideoLimits
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.quarantine import Quarantine, as_video_error
from vitaclip.data.loading.samples import (
    OnError,
    Sample,
    TrainSamples,
    check_on_error,
    check_rows,
    located,
    most_labels,
)
from vitaclip.data.reading.container import DEFAULT_LIMITS, VideoError
from vitaclip.data.reading.frame_folder import open_source
from vitaclip.data.reading.index_cache import IndexCache
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.reading.source import VideoSource
from vitaclip.data.rng import Stream, generator
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.transforms.geometry import resize_short_side, spatial_views
from vitaclip.data.transforms.train import SampledTransform, TrainTransform

LoadedVideo = tuple[Tensor, np.ndarray]
"""Views of a video, uint8 (V, T, 3, S, S), and the (clips, T) numbers of the frames that the clips consist of."""


class TrainDataset(TrainSamples):
    """Training samples whose clips are drawn and changed anew each time: uint8 (T, 3, S, S)."""

    def __init__(
        self,
        rows: Sequence[VideoSample],
        sampling: FrameSampling,
        transform: TrainTransform,
        seed: int,
        on_error: OnError = "raise",
        balance_classes: bool = False,
        index_cache: IndexCache | None = None,
        limits: VideoLimits = DEFAULT_LIMITS,
        pixel_aspect: PixelAspect = "display",
    ) -> None:
        """Args:
        rows, seed, on_error, balance_classes: see `TrainSamples`.
        sampling: which frames make a clip.
        transform: what happens to a clip.
        index_cache: where to keep what the files' packets say.
        limits: what a video may be at most.
        pixel_aspect: whether pixels that are not square are made so.
        """
        super().__init__(rows, seed, on_error, balance_classes)
        self.sampling, self.transform, self._reading = sampling, transform, (index_cache, limits, pixel_aspect)

    def clip(self, index: int, rng: np.random.Generator) -> Tensor:
        with open_source(self.rows[index].path, *self._reading) as video:
            return draw_clip(video, self.sampling, self.transform, rng)


def draw_clip(
    video: VideoSource, sampling: FrameSampling, transform: TrainTransform, rng: np.random.Generator
) -> Tensor:
    """A training clip of an open video, uint8 (T, 3, S, S)."""
    indices = sampling.train(video.num_frames, rng)
    sampled = SampledTransform(transform, rng)
    return sampled.clip(video.frames(indices, sampled.frame)).contiguous()


class EvalDataset:
    """Test samples: the same fixed views of every video, every time."""

    def __init__(
        self,
        rows: Sequence[VideoSample],
        sampling: FrameSampling,
        temporal_views: int = 3,
        spatial_crops: int = 1,
        size: int = 224,
        on_error: OnError = "raise",
        crop: float = 1.0,
        index_cache: IndexCache | None = None,
        limits: VideoLimits = DEFAULT_LIMITS,
        pixel_aspect: PixelAspect = "display",
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
        limits: what a video may be at most.
        pixel_aspect: whether pixels that are not square are made so.
        """
        check_rows(rows)
        check_on_error(on_error)
        _check_views(temporal_views, spatial_crops, size)
        self.rows, self.sampling = tuple(rows), sampling
        self.temporal_views, self.spatial_crops, self.size = temporal_views, spatial_crops, size
        self.on_error, self.crop, self.pixel_aspect = on_error, crop, pixel_aspect
        self.quarantine, self.most_labels = Quarantine(self.rows), most_labels(self.rows)
        self._reading = index_cache, limits, pixel_aspect

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
            with self.quarantine.reading(index):
                video = self.views(row.path)
        except VideoError as error:
            if self.on_error == "raise":
                raise located(row, error) from error
            return Sample(None, row.labels, index, (str(located(row, error)),))
        return Sample(video, row.labels, index)

    def views(self, path: VideoPath) -> Tensor:
        """The views of a video, uint8 (V, T, 3, S, S).

        Raises:
            VideoError: the video is broken.
        """
        views = self.temporal_views, self.spatial_crops, self.size, self.crop
        return load_views(path, self.sampling, *views, *self._reading)

    def with_samples(self, rows: Sequence[VideoSample]) -> Self:
        """The same views of other videos; a broken one gives a sample without video."""
        other = copy.copy(self)
        other.rows, other.on_error = tuple(rows), "skip"
        other.quarantine = Quarantine(other.rows)
        return other

    @property
    def view_config(self) -> dict[str, Any]:
        """All that decides what the views of a file look like, ready for JSON."""
        return {
            "decoder": f"PyAV {av.__version__}",
            "sampling": asdict(self.sampling),
            "temporal_views": self.temporal_views,
            "spatial_crops": self.spatial_crops,
            "size": self.size,
            "crop": self.crop,
            "pixel_aspect": self.pixel_aspect,
        }


class FixedAugmentationDataset(EvalDataset):
    """The same V training clips of every video, every time: they stand where a test has its views.

    They depend on the file's name and their number, not on a seed or on the list, so that all runs can share them.
    """

    def __init__(
        self,
        rows: Sequence[VideoSample],
        sampling: FrameSampling,
        transform: TrainTransform,
        draws: int,
        on_error: OnError = "raise",
        **reading: Any,
    ) -> None:
        """Args:
        rows, on_error: see `EvalDataset`.
        sampling: which frames make a clip.
        transform: what happens to a clip.
        draws: V, clips of each video.
        reading: `index_cache`, `limits` and `pixel_aspect`, likewise.
        """
        super().__init__(rows, sampling, draws, 1, transform.size, on_error, **reading)
        self.transform = transform

    def views(self, path: VideoPath) -> Tensor:
        name = zlib.crc32(path.parts[-1].encode(errors="surrogateescape"))
        draws = [generator(0, Stream.DRAWN, name, draw) for draw in range(self.temporal_views)]
        with open_source(path, *self._reading) as video:
            return torch.stack([draw_clip(video, self.sampling, self.transform, rng) for rng in draws])

    @property
    def view_config(self) -> dict[str, Any]:
        return super().view_config | {"drawn": asdict(self.transform.augment)}


def load_views(
    path: VideoPath,
    sampling: FrameSampling,
    temporal_views: int = 3,
    spatial_crops: int = 1,
    size: int = 224,
    crop: float = 1.0,
    index_cache: IndexCache | None = None,
    limits: VideoLimits = DEFAULT_LIMITS,
    pixel_aspect: PixelAspect = "display",
) -> Tensor:
    """The test-time views of one video: frames resized so that a crop of S is `crop` of their shorter side.

    Returns:
        uint8 (V, T, 3, S, S), V = temporal_views * spatial_crops; the crops of the first clip come first.

    Raises:
        VideoError: the file cannot give the frames.
    """
    return read_views(path, sampling, temporal_views, spatial_crops, size, crop, index_cache, limits, pixel_aspect)[0]


def read_views(
    path: VideoPath,
    sampling: FrameSampling,
    temporal_views: int = 3,
    spatial_crops: int = 1,
    size: int = 224,
    crop: float = 1.0,
    index_cache: IndexCache | None = None,
    limits: VideoLimits = DEFAULT_LIMITS,
    pixel_aspect: PixelAspect = "display",
) -> LoadedVideo:
    """`load_views`, and the (clips, T) numbers of the frames that the clips consist of, from 0."""
    _check_views(temporal_views, spatial_crops, size)
    with as_video_error(path), open_source(path, index_cache, limits, pixel_aspect) as video:
        indices = sampling.views(video.num_frames, temporal_views)
        # Clips may share frames: each is decoded and resized once.
        distinct, places = np.unique(indices, return_inverse=True)
        frames = video.frames(distinct, partial(resize_short_side, size=round(size / crop)))
        crops = spatial_views(frames, size, spatial_crops)  # (crops, distinct frames, 3, S, S)
        views = crops[:, torch.from_numpy(places.reshape(indices.shape))]  # (crops, clips, T, 3, S, S)
        return views.transpose(0, 1).flatten(0, 1).contiguous(), indices


def _check_views(temporal_views: int, spatial_crops: int, size: int) -> None:
    for name, value in (("temporal_views", temporal_views), ("spatial_crops", spatial_crops), ("size", size)):
        if value < 1:
            raise ValueError(f"{name} = {value}: must be at least 1")
