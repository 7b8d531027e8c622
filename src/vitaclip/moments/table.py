"""The table of what happens when in one video, from which every output is made.

Axes: N steps of the curves, K classes or queries.
"""

from dataclasses import dataclass, field

import numpy as np

from vitaclip.data.reading.path import VideoPath


@dataclass(frozen=True)
class Segment:
    """A stretch of a video in which something happens."""

    start_s: float
    """Seconds from the video's start."""
    end_s: float
    label: str
    """The class, or the query."""
    score: float
    """In [0, 1]."""


@dataclass(frozen=True)
class Moments:
    """What happens when in one video."""

    path: VideoPath
    duration_s: float = 0.0
    """0 if it could not be read at all."""
    fps: float = 25.0
    """Frames a second, as `VideoSource.fps`."""
    names: tuple[str, ...] = ()
    """K classes, or the queries."""
    segments: tuple[Segment, ...] = ()
    """Ascending by start, then by label."""
    times_s: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False, compare=False)
    """(N,) centres of the steps of the curves, in seconds."""
    curves: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32), repr=False, compare=False)
    """(N, K) float32 in [0, 1]: how likely each class is at each step."""
    error: str = ""
    """Why it ends early, or could not be read at all: what is there is then a part, or nothing, and says so."""
    note: str = ""
    """What else is to be said of its frames, as `VideoSource.note`."""
