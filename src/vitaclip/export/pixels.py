"""The views of a video without torch, in the same pixels as a training has them: what reads frames is the same, and
resizing does torch's sums in whole numbers.

Axes: V views, T frames, H x W pixels of a frame, S x S pixels of a view.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from vitaclip.data.reading.container import VideoError, as_video_error
from vitaclip.data.reading.decode import Video, open_video, orientation
from vitaclip.data.sampling import FrameSampling

Pixels = NDArray[np.uint8]
_MOST_BITS = 22
_WORD = 1 << 15
"""Weights are whole numbers below it, of as many bits as fit."""


def read_views(path: Path, about: Mapping[str, Any], views: int) -> Pixels:
    """The views of a video, uint8 (V, T, 3, S, S): clips that are spread over it, of each frame the centre.

    Args:
        path: a video file.
        about: what the description of an exported model has under `video`.
        views: V.

    Raises:
        VideoError: the file cannot be read.
    """
    with as_video_error(path), open_video(path) as video:
        if not isinstance(video, Video):
            raise VideoError(f"{path} is a folder of pictures: make a video file of it")
        numbers = FrameSampling(**about["sampling"]).views(video.num_frames, views)
        shown = dict[int, Pixels]()
        for number, frame in video.decode(np.unique(numbers).tolist()):
            shown[number] = _fit(_upright(video, frame), about["size"], about["fit"], about["interpolation"])
            del frame  # a decoder writes into the memory of frames that nobody holds
        return np.stack([[shown[number].transpose(2, 0, 1) for number in clip] for clip in numbers.tolist()])


def _upright(video: Video, frame: VideoFrame) -> Pixels:
    """uint8 (H, W, 3) as a player shows it."""
    stored, shown_width = video.rgb(frame)
    pixels = resize(stored, len(stored), shown_width)
    turned, mirrored = orientation(frame)
    return np.flip(pixels.transpose(1, 0, 2) if turned else pixels, tuple(axis - 1 for axis in mirrored))


def _fit(frame: Pixels, size: int, fit: str, interpolation: str) -> Pixels:
    """A frame as the square that the model takes: (S, S, 3)."""
    if fit == "squash":
        return resize(frame, size, size, interpolation)
    height, width = (side * size // min(frame.shape[:2]) for side in frame.shape[:2])
    top, left = (height - size) // 2, (width - size) // 2
    return resize(frame, height, width, interpolation)[top : top + size, left : left + size]


def resize(frame: Pixels, height: int, width: int, interpolation: str = "bicubic") -> Pixels:
    """Resize (H, W, 3) with antialiasing to the bits of torch: along the rows first, rounded, then along the columns.

    >>> resize(np.array([[[0], [255]]], np.uint8), 1, 4, "bilinear").ravel().tolist()
    [0, 64, 191, 255]
    """
    for length in (width, height):
        frame = frame.transpose(1, 0, 2)
        if length != len(frame):
            weights, bits = _weights(len(frame), length, interpolation)
            columns = frame.reshape(len(frame), -1)
            sums = np.concatenate([part @ columns[start : start + part.shape[1]] for start, part in weights])
            frame = (
                np.clip(np.floor(sums / (1 << bits) + 0.5), 0, 255).astype(np.uint8).reshape(length, *frame.shape[1:])
            )
    return frame


@lru_cache(maxsize=8)
def _weights(length: int, resized: int, interpolation: str) -> tuple[list[tuple[int, NDArray[np.float64]]], int]:
    """How much of which of `length` pixels is in each of the `resized` ones, in units of 1 / 2^bits, and the bits.

    For 16 resized pixels at a time: the first of the pixels that are in them, and (16, pixels) how much of each. Such
    numbers' sums of products are exact in float64.
    """
    scale = length / resized
    shrunk, reach = max(scale, 1), (2 if interpolation == "bicubic" else 1) * max(scale, 1)
    centres, places = scale * (np.arange(resized) + 0.5)[:, None], np.arange(length)
    near = (places >= np.trunc(centres - reach + 0.5)) & (places < np.trunc(centres + reach + 0.5))
    weights = near * _kernel(np.abs(places - centres + 0.5) / shrunk, interpolation)
    weights /= weights.sum(axis=1, keepdims=True)
    bits = next((n for n in range(_MOST_BITS) if int(0.5 + weights.max() * (2 << n)) >= _WORD), _MOST_BITS)
    whole = np.trunc(weights * (1 << bits) + np.copysign(0.5, weights))
    blocks = []
    for start in range(0, resized, 16):
        first, last = np.flatnonzero(near[start : start + 16].any(axis=0))[[0, -1]]
        blocks.append((int(first), whole[start : start + 16, first : last + 1]))
    return blocks, bits


def _kernel(x: NDArray[np.float64], interpolation: str) -> NDArray[np.float64]:
    """A pixel's weight at a distance: a triangle, or the cubic with a = -0.5 (Keys 1981)."""
    if interpolation == "bilinear":
        return np.maximum(1 - x, 0)
    return np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0))
