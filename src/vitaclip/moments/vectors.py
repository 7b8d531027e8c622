"""A vector for each window of videos of any length, read by processes that are killed when a video hangs them.

Axes: n frames, W windows, D numbers of a vector, S x S pixels.
"""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vitaclip.data.config import DataConfig
from vitaclip.data.loading.clips import EvalViews
from vitaclip.data.loading.loader import stream_videos
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.transforms import spatial_views
from vitaclip.evaluation.scoring import ViewEncoder, check_aggregation
from vitaclip.moments.config import WindowsConfig
from vitaclip.moments.scan import FrameRing, KeptScores, scan, take_frames
from vitaclip.moments.windows import Windows, plan_windows

_STRETCH = 512
"""Steps that are read at a time: 77 MB at 224 pixels. A file is opened anew for each."""
_DARKER = 2
"""Grey levels by which neighbours differ at least for a bit of a picture's hash, so that noise sets none."""


@dataclass(frozen=True)
class VideoVectors:
    """The windows of one video."""

    path: VideoPath
    duration_s: float
    times: np.ndarray
    """(W, 2) seconds where each window starts and ends."""
    vectors: Tensor
    """(W, D) float32 on the CPU."""
    looks: np.ndarray
    """(W, 3) int64: see `hash_pictures`, of the first, the middle and the last frame of each window."""
    error: str = ""
    """Why the video ends early; the windows before that are here."""


@dataclass(frozen=True)
class _Stretch:
    """A part of a video, from a step on."""

    path: VideoPath
    first: int = 0

    def __str__(self) -> str:
        return str(self.path)


class _Read(NamedTuple):
    """What was read of a stretch."""

    windows: Windows
    duration_s: float
    frames: list[Tensor]
    """uint8 (3, S, S) each."""
    looks: np.ndarray
    error: str
    """Why there are fewer frames than asked for."""


def hash_pictures(frames: Tensor) -> np.ndarray:
    """(n,) int64 of uint8 pictures (n, 3, H, W): 64 bits that say where each is darker than to the left, which stay
    when it is stored anew (dHash). Pictures are alike if few bits differ.

    >>> hash_pictures(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    array([0, 0])
    """
    small = F.adaptive_avg_pool2d(frames.float().mean(dim=1, keepdim=True), (8, 9))
    bits = small.diff(dim=-1).flatten(1) < -_DARKER
    return np.packbits(bits.numpy(), axis=1).view("<i8")[:, 0]


def _read(views: EvalViews, config: WindowsConfig, stretch: _Stretch) -> _Read:
    with open_video(stretch.path, *views.options) as source:
        duration = float(source.times[-1]) + 1 / source.fps
        if duration < min(config.lengths_s):  # one window, with all its frames
            config = WindowsConfig(lengths_s=(duration,))
        windows = plan_windows(source, config, views.sampling.num_frames)
        numbers = windows.numbers[stretch.first : stretch.first + _STRETCH]
        frames = source.stream(numbers, lambda frame: spatial_views(views.resize(frame), views.size, 1)[0])
        taken, error = take_frames(frames, len(numbers), stretch.path)
        if not taken:
            raise VideoError(error)
        return _Read(windows, duration, taken, hash_pictures(torch.stack(taken)), error)


def window_vectors(
    paths: Iterable[VideoPath], views: EvalViews, encoder: ViewEncoder, config: WindowsConfig, data: DataConfig
) -> Iterator[VideoVectors]:
    """The windows of many videos, in order. Worker processes read ahead; each chosen frame is decoded once, and goes
    through the tower once if that sees frames alone.

    Args:
        paths: the videos, taken as they are needed.
        views: how frames come to the model's size, and how many make a window.
        encoder: the model.
        config: windows.
        data: workers, batch size, and the time limit, which holds for each stretch of a long video.

    Raises:
        ValueError: the model reads each video in the light of the names, so that it has no vector alone.
    """
    check_aggregation(encoder.model, "features")
    read, taken = partial(_read, views, config), deque[VideoPath]()

    def stretches() -> Iterator[_Stretch]:
        for path in paths:
            taken.append(path)
            yield _Stretch(path)

    ahead = 2 * data.eval_batch_size if data.workers else 1
    for found in stream_videos(read, stretches(), data.workers, ahead, data.time_limit_seconds):
        path = taken.popleft()
        if isinstance(found, VideoError):
            nothing = np.empty((0, 3), np.int64)
            yield VideoVectors(path, 0.0, np.empty((0, 2)), torch.empty(0, 0), nothing, str(found))
        else:
            yield _embed(path, found, read, views, encoder, data)


def _embed(
    path: VideoPath,
    first: _Read,
    read: Callable[[_Stretch], _Read],
    views: EvalViews,
    encoder: ViewEncoder,
    data: DataConfig,
) -> VideoVectors:
    """The windows of a video whose first stretch was read."""
    windows, hashes = first.windows, list[np.ndarray]()

    def frames_from(_: int) -> Iterator[Tensor]:
        rest = [_Stretch(path, start) for start in range(_STRETCH, len(windows.numbers), _STRETCH)]
        later = stream_videos(read, rest, data.workers, 1, data.time_limit_seconds) if rest else ()
        for found in itertools.chain([first], later):
            if isinstance(found, VideoError):
                raise found
            hashes.append(found.looks)
            yield from found.frames
            if found.error:
                raise VideoError(found.error)

    kept = KeptScores(None, {}, math.prod(encoder.model.pool.shape))
    ring = FrameRing(encoder, encoder.model.head.mean, windows.offsets, views.size, data.eval_batch_size)
    error = scan(path, windows, frames_from, ring, kept)
    done = kept.num_windows
    starts, ends, lengths = windows.starts[:done], windows.ends[:done], windows.lengths[:done]
    times = np.minimum(np.stack([starts, ends], axis=1) * windows.step_s, first.duration_s)
    ends_and_middle = np.array([each[[0, len(each) // 2, -1]] for each in windows.offsets])
    looks = np.concatenate(hashes)[starts[:, None] + ends_and_middle[lengths]]
    return VideoVectors(path, first.duration_s, times, torch.from_numpy(kept.joined()[0]), looks, error)
