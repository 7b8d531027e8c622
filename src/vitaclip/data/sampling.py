"""Which frames of a video make a clip: integer index arithmetic, no pixels.

Axes: V views of a video, T frames of a view. Every index lies in 0..total-1.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vitaclip.data.config import SamplingConfig
from vitaclip.settings import Config, PositiveInt

Indices = NDArray[np.int64]


def dense_indices(total: int, num_frames: int, stride: int, rng: np.random.Generator) -> Indices:
    """Training: `num_frames` frames, `stride` native frames apart, from a random start.

    A video shorter than the span of the clip repeats its last frame.

    Args:
        total: frames in the video, at least 1.
        num_frames: T.
        stride: distance of two chosen frames, in native frames.
        rng: source of the start.

    Returns:
        (T,) frame indices, in display order.
    """
    slide = _slide(total, num_frames, stride)
    return _dense(total, int(rng.integers(slide + 1)), num_frames, stride)


def dense_views(total: int, num_frames: int, stride: int, views: int) -> Indices:
    """Test: `views` dense clips, their starts spread evenly over the video; one view is the centre.

    Starts are `round(slide / (V - 1) * v)`, as in the published evaluation of EVL and Vita-CLIP.

    Returns:
        (V, T) frame indices.
    """
    _check_views(views)
    slide = _slide(total, num_frames, stride)
    starts = [slide // 2] if views == 1 else [round(slide / (views - 1) * view) for view in range(views)]
    return np.stack([_dense(total, start, num_frames, stride) for start in starts])


def segment_indices(total: int, num_frames: int, rng: np.random.Generator) -> Indices:
    """Training, TSN: cut the video into `num_frames` equal segments, one random frame of each.

    A segment holds whole frames `t*total//T .. (t+1)*total//T - 1`; an empty one (video shorter than T) gives
    the frame it starts at. Source: Wang et al., Temporal Segment Networks, ECCV 2016.

    Returns:
        (T,) frame indices, never decreasing.
    """
    _check_total(total)
    edges = np.arange(num_frames + 1, dtype=np.int64) * total // num_frames
    lengths = np.maximum(np.diff(edges), 1)
    return edges[:-1] + rng.integers(lengths)


def segment_views(total: int, num_frames: int, views: int) -> Indices:
    """Test, TSN: the middle of every segment; several views sit evenly side by side inside each segment.

    View v takes the point `(2v + 1) / (2V)` of every segment: V = 1 is the middle.

    Returns:
        (V, T) frame indices.
    """
    _check_total(total)
    _check_views(views)
    points = np.arange(num_frames * views, dtype=np.int64).reshape(num_frames, views).T  # (V, T): t*V + v
    return (2 * points + 1) * total // (2 * num_frames * views)


@dataclass(frozen=True)
class FrameSampling(Config):
    """How the frames of a clip are chosen."""

    kind: Literal["dense", "segments"] = "dense"
    """dense: frames a fixed stride apart. segments: one frame of each equal part of the video (TSN)."""
    num_frames: PositiveInt = 8
    """T, frames per clip."""
    stride: PositiveInt = 16
    """Distance of two frames, in native frames; dense sampling alone uses it."""

    def train(self, total: int, rng: np.random.Generator) -> Indices:
        """(T,) random frame indices of one training clip from a video of `total` frames."""
        if self.kind == "dense":
            return dense_indices(total, self.num_frames, self.stride, rng)
        return segment_indices(total, self.num_frames, rng)

    def views(self, total: int, views: int) -> Indices:
        """(V, T) fixed frame indices of `views` test clips from a video of `total` frames."""
        if self.kind == "dense":
            return dense_views(total, self.num_frames, self.stride, views)
        return segment_views(total, self.num_frames, views)


def frame_sampling(config: SamplingConfig, num_frames: int) -> FrameSampling:
    """The sampling that a config describes, for clips of `num_frames` frames."""
    return FrameSampling(config.kind, num_frames, config.stride)


def _slide(total: int, num_frames: int, stride: int) -> int:
    """By how many frames a clip can be moved inside the video; 0 if the video is not longer than the clip."""
    _check_total(total)
    return max(0, total - ((num_frames - 1) * stride + 1))


def _dense(total: int, start: int, num_frames: int, stride: int) -> Indices:
    return np.minimum(start + np.arange(num_frames, dtype=np.int64) * stride, total - 1)


def _check_total(total: int) -> None:
    if total < 1:
        raise ValueError(f"total={total}: a video needs at least 1 frame to sample from")


def _check_views(views: int) -> None:
    if views < 1:
        raise ValueError(f"temporal views={views}: give at least 1")
