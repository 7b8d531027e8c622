"""What a sample shows of its video: a random training clip, or the fixed views of a test.

Axes: V views of a video, T frames, S x S pixels of a crop.
"""

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, NamedTuple, Protocol

import av
import numpy as np
import torch
from torch import Tensor

from vitaclip.data.config import MAX_VIEW_FRAMES, DataConfig, PixelAspect, VideoLimits, ViewsConfig
from vitaclip.data.reading.container import DEFAULT_LIMITS, as_video_error
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.reading.source import VideoSource
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.transforms import FrameFit, SampledTransform, TrainTransform, spatial_views
from vitaclip.settings import Config, PositiveInt, bounds, require


class LoadedVideo(NamedTuple):
    """What was read of a video for a test."""

    views: Tensor
    """uint8 (V, T, 3, S, S)."""
    places: np.ndarray
    """(clips, T) numbers of the frames that the clips consist of."""
    note: str
    """Says that frames could not be decoded, so that others stand in; empty if all could."""
    seconds: float
    """Length of the video."""


class ReadOptions(NamedTuple):
    """How a video is opened, whatever is read of it."""

    limits: VideoLimits = DEFAULT_LIMITS
    """What a video may be at most."""
    pixel_aspect: PixelAspect = "display"
    """Whether pixels that are not square are made so."""


DEFAULT_OPTIONS = ReadOptions()


def read_options(data: DataConfig, views: ViewsConfig | None = None) -> ReadOptions:
    """The options that settings describe; the pixel aspect of `views`, if they state one, takes precedence."""
    pixel_aspect = (views.pixel_aspect if views else "") or data.pixel_aspect
    return ReadOptions(data.limits, pixel_aspect)


class ClipReader(Protocol):
    """Makes a training clip of a video, every draw from a generator; it may raise VideoError, and can be pickled."""

    def read(self, path: VideoPath, rng: np.random.Generator) -> Tensor:
        """A clip, uint8 (T, 3, S, S), or what stands for it."""


@dataclass(frozen=True)
class TrainClips:
    """Random training clips: frames, crop and augmentation are drawn anew each time."""

    sampling: FrameSampling
    transform: TrainTransform
    options: ReadOptions = DEFAULT_OPTIONS

    def read(self, path: VideoPath, rng: np.random.Generator) -> Tensor:
        """A clip, uint8 (T, 3, S, S)."""
        with open_video(path, *self.options) as source:
            indices = self.sampling.train(source.num_frames, rng)
            sampled = SampledTransform(self.transform, rng)
            return sampled.clip(source.frames(indices, sampled.frame)).contiguous()


@dataclass(frozen=True)
class EvalViews(Config):
    """The views of a test, the same every time. V = temporal views x crops; the crops of the first clip come first."""

    sampling: FrameSampling
    temporal_views: PositiveInt = 3
    """Clips, spread over the length of the video."""
    spatial_crops: PositiveInt = 1
    """Crops of each clip, spread along the longer side."""
    size: PositiveInt = 224
    """S, side of a crop."""
    crop: Annotated[float, bounds(gt=0, le=1)] = 1.0
    """Side of a crop over the shorter side of the resized frames."""
    fit: FrameFit = field(default_factory=FrameFit)
    """How frames come to the square."""
    options: ReadOptions = DEFAULT_OPTIONS

    def __post_init__(self) -> None:
        super().__post_init__()
        frames = self.temporal_views * self.spatial_crops * self.sampling.num_frames
        remedy = f"the views of a video have {frames:,} frames together, more than {MAX_VIEW_FRAMES:,}; take fewer"
        require(frames <= MAX_VIEW_FRAMES, self, "temporal_views", remedy)
        apart = self.spatial_crops == 1 or not self.fit.squash or self.crop < 1
        require(apart, self, "spatial_crops", "this backbone squashes whole frames, so all crops are one; give 1")

    def read(self, path: VideoPath) -> Tensor:
        """The views, uint8 (V, T, 3, S, S)."""
        return self.load(path)[0]

    def load(self, path: VideoPath) -> LoadedVideo:
        """The views, the frames that they consist of, and what is to be said of these."""
        with as_video_error(path), open_video(path, *self.options) as source:
            indices = self.sampling.views(source.num_frames, self.temporal_views)
            return LoadedVideo(self._show(source, indices), indices, source.note, source.num_frames / source.fps)

    def resize(self, frames: Tensor) -> Tensor:
        """Frames (n, 3, H, W) as large as crops are cut from them."""
        return self.fit.resize(frames, size=round(self.size / self.crop))

    def _show(self, source: VideoSource, indices: np.ndarray) -> Tensor:
        """The crops of clips, of which indices (clips, T) are the frames: (clips x crops, T, 3, S, S)."""
        # Clips may share frames: each is decoded and resized once.
        distinct, inverse = np.unique(indices, return_inverse=True)
        frames = source.frames(distinct, self.resize)
        crops = spatial_views(frames, self.size, self.spatial_crops)  # (crops, distinct frames, 3, S, S)
        views = crops[:, torch.from_numpy(inverse.reshape(indices.shape))]  # (crops, clips, T, 3, S, S)
        return views.transpose(0, 1).flatten(0, 1).contiguous()

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """(V, T, 3, S, S)."""
        return self.temporal_views * self.spatial_crops, self.sampling.num_frames, 3, self.size, self.size

    @property
    def view_config(self) -> dict[str, Any]:
        """Everything that decides what the views of a file look like, ready for JSON."""
        return {
            "decoder": f"PyAV {av.__version__}",
            "sampling": asdict(self.sampling),
            "temporal_views": self.temporal_views,
            "spatial_crops": self.spatial_crops,
            "size": self.size,
            "crop": self.crop,
            "fit": asdict(self.fit),
            "pixel_aspect": self.options.pixel_aspect,
        }
