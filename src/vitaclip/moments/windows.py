"""Which frames of a video are looked at, and which windows they make.

Axes: N chosen frames, one for each step of the grid; W windows, L lengths, T frames of a window.
"""

import math
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from vitaclip.data.reading.source import VideoSource
from vitaclip.data.sampling import FrameSampling
from vitaclip.moments.config import WindowsConfig

_KEY_WITHIN = 0.51
"""Steps from the centre of a step to its key frame: a little more than where they are one step apart."""


@dataclass(frozen=True)
class Windows:
    """The windows of one video in the order in which they are complete."""

    numbers: np.ndarray
    """(N,) frame number of each step: the frame shown at its centre; or, where there is a key frame for every step,
    the nearest of these, so that no other is decoded."""
    times: np.ndarray
    """(N,) seconds of the centres of the steps."""
    step_s: float
    """Seconds of a step."""
    offsets: tuple[np.ndarray, ...]
    """Of each length, the (T,) steps of a window whose frames it takes, counted from its first."""
    spans: tuple[int, ...]
    """Of each length, the steps of a window."""
    starts: np.ndarray
    """(W,) first step of each window."""
    lengths: np.ndarray
    """(W,) the number of its length, 0 to L - 1."""

    @property
    def ends(self) -> np.ndarray:
        """(W,) the step behind the last one of each window."""
        return self.starts + np.array(self.spans)[self.lengths]

    @property
    def digest(self) -> str:
        """A sum of all that is looked at."""
        return sha256(b"".join(each.tobytes() for each in (self.numbers, self.starts, *self.offsets))).hexdigest()


def plan_windows(source: VideoSource, config: WindowsConfig, num_frames: int) -> Windows:
    """Spread windows of `num_frames` frames over a video.

    Raises:
        ValueError: the stride is longer than the video.

    >>> from pathlib import Path
    >>> from vitaclip.data.reading.decode import open_video
    >>> with open_video(Path("video.mp4")) as video:
    ...     windows = plan_windows(video, WindowsConfig(lengths_s=(0.5, 1.0)), 2)
    >>> windows.numbers.tolist(), windows.spans, windows.starts.tolist()
    ([1, 4, 7, 10, 13, 15], (2, 4), [0, 1, 2, 0, 3, 1, 4, 2])
    """
    times, frame_s = source.times, 1 / source.fps
    duration = float(times[-1]) + frame_s
    if config.stride_s > duration:
        raise ValueError(
            f"stride_s = {config.stride_s:g}: {source.path} lasts {duration:.2f} seconds; give a smaller stride"
        )
    step = choose_step(config, source.fps, num_frames)
    count = max(1, math.ceil(duration / step - 1e-6))
    centres = (np.arange(count) + 0.5) * step
    numbers = np.maximum(np.searchsorted(times, centres + 1e-6, side="right") - 1, 0)
    keys = source.key_numbers
    if len(keys):  # the nearest; of two the earlier one
        nearest = keys[np.searchsorted((times[keys[:-1]] + times[keys[1:]]) / 2 + 1e-6, centres)]
        off = times[nearest] - centres
        if np.abs(off).max() <= _KEY_WITHIN * step:
            numbers, centres = nearest, centres + off.mean()
    spans, offsets = window_steps(config, step, num_frames, count)
    found = []
    for length, span in enumerate(spans):
        hop = max(1, round(span * config.hop))
        starts = np.append(np.arange(0, count - span, hop), count - span)
        found.append(np.stack([starts + span, np.full(len(starts), length), starts]))
    ends, lengths, starts = np.concatenate(found, axis=1)
    order = np.lexsort((lengths, ends))
    return Windows(numbers, centres, step, offsets, spans, starts[order], lengths[order])


def choose_step(config: WindowsConfig, fps: float, num_frames: int) -> float:
    """Seconds from one chosen frame to the next."""
    return config.stride_s or max(1 / fps, int(min(config.lengths_s) / num_frames * fps + 1e-6) / fps)


def window_steps(
    config: WindowsConfig, step_s: float, num_frames: int, most: float = math.inf
) -> tuple[tuple[int, ...], tuple[np.ndarray, ...]]:
    """Of each length, the steps of a window, of which there are at most so many, and those whose frames it takes."""
    spans = sorted({int(min(most, max(1, round(length / step_s)))) for length in config.lengths_s})
    offsets = [FrameSampling("segments", min(num_frames, span)).views(span, 1)[0] for span in spans]
    return tuple(spans), tuple(offsets)
