"""Which frames of a video make a clip: integer index arithmetic, no pixels; and where all random draws of training come
from: a seed and a purpose, never a global state.

Axes: V views of a video, T frames of a view. Every index lies in 0..total-1, in display order.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vitaclip.data.config import SamplingConfig
from vitaclip.settings import Config, PositiveInt

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class FrameSampling(Config):
    """How the frames of a clip are chosen.

    >>> FrameSampling("dense", num_frames=4, stride=5).views(total=50, views=2).tolist()
    [[0, 5, 10, 15], [34, 39, 44, 49]]
    >>> FrameSampling("segments", num_frames=4).views(total=40, views=1).tolist()
    [[5, 15, 25, 35]]
    """

    kind: Literal["dense", "segments"] = "dense"
    """dense: frames a fixed stride apart. segments: one frame of each equal part of the video (TSN)."""
    num_frames: PositiveInt = 8
    """T, frames per clip."""
    stride: PositiveInt = 16
    """Distance of two frames, in native frames; dense sampling alone uses it."""

    def train(self, total: int, rng: np.random.Generator) -> Indices:
        """(T,) random frame indices of one training clip from a video of `total` frames.

        Dense clips begin anywhere; a video shorter than the clip's span repeats its last frame. Of segments each gives
        one random frame (Wang et al., Temporal Segment Networks, ECCV 2016).
        """
        if self.kind == "dense":
            return self._dense(total, int(rng.integers(self._slide(total) + 1)))
        # A segment holds the whole frames t*total//T .. (t+1)*total//T - 1; an empty one (video shorter than T) gives
        # the frame it starts at.
        edges = np.arange(self.num_frames + 1, dtype=np.int64) * _checked(total) // self.num_frames
        return edges[:-1] + rng.integers(np.maximum(np.diff(edges), 1))

    def views(self, total: int, views: int) -> Indices:
        """(V, T) fixed frame indices of `views` test clips from a video of `total` frames.

        The starts of dense clips are spread evenly over the video, `round(slide / (V - 1) * v)` as in the published
        evaluation of EVL and Vita-CLIP; a single one is the centre. Of each segment view v takes the point
        `(2v + 1) / (2V)`: a single one is the middle.
        """
        if views < 1:
            raise ValueError(f"temporal views={views}: give at least 1")
        if self.kind == "dense":
            slide = self._slide(total)
            starts = [slide // 2] if views == 1 else [round(slide / (views - 1) * view) for view in range(views)]
            return np.stack([self._dense(total, start) for start in starts])
        points = np.arange(self.num_frames * views, dtype=np.int64).reshape(self.num_frames, views).T  # (V, T): t*V + v
        return (2 * points + 1) * _checked(total) // (2 * self.num_frames * views)

    def _slide(self, total: int) -> int:
        """By how many frames a clip can be moved inside the video; 0 if the video is not longer than the clip."""
        return max(0, _checked(total) - ((self.num_frames - 1) * self.stride + 1))

    def _dense(self, total: int, start: int) -> Indices:
        return np.minimum(start + np.arange(self.num_frames, dtype=np.int64) * self.stride, total - 1)


def frame_sampling(config: SamplingConfig, num_frames: int) -> FrameSampling:
    """The sampling that a config describes, for clips of `num_frames` frames."""
    return FrameSampling(config.kind, num_frames, config.stride)


def _checked(total: int) -> int:
    if total < 1:
        raise ValueError(f"total={total}: a video needs at least 1 frame to sample from")
    return total


class Stream(IntEnum):
    """What is drawn. The same seed gives each purpose its own stream; a number is never given to another purpose."""

    ORDER = 0
    """The order of an epoch; numbered by epoch."""
    SAMPLE = 1
    """Frames and augmentation of a clip; numbered by step, place in the batch, and attempt."""
    MIX = 2
    """How the clips of a step are mixed; numbered by step."""
    SHOTS = 3
    """The few videos of a class that are trained on; numbered by class."""
    DROPOUT = 5
    """What a training step leaves out; numbered by step and place in the batch."""
    VALIDATION = 6
    """Which videos of the training list are kept for validation."""


def generator(seed: int, purpose: Stream, *numbers: int) -> np.random.Generator:
    """A generator that depends on its arguments alone."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, *numbers)))
