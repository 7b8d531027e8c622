"""Settings of how a long video is searched."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from vitaclip.settings import Config, NonNegativeFloat, PositiveFloat, Probability, bounds, require

_SEVERAL: Mapping[str, Any] = {"positional": False, "argparse": {"nargs": "+"}}


@dataclass(frozen=True, kw_only=True)
class WindowsConfig(Config):
    """The windows that a video of any length is looked at in."""

    lengths_s: tuple[PositiveFloat, ...] = field(default=(8.0, 16.0, 32.0, 64.0), metadata=_SEVERAL)
    """Seconds of the windows that are scored, each as one clip: something is found best by windows of about its own
    length."""
    stride_s: NonNegativeFloat = 0.0
    """Seconds from one chosen frame to the next. 0: what gives the shortest window as many frames as the model was
    trained on."""
    hop: Annotated[float, bounds(gt=0, le=1)] = 0.25
    """Distance of two windows of a length, as a fraction of it. Half of it makes windows, and their cost, twice as
    many."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.lengths_s) > 0, self, "lengths_s", "give at least one length")


@dataclass(frozen=True, kw_only=True)
class MomentsConfig(WindowsConfig):
    """How a long video is looked at, and how scores become segments."""

    reject: bool = True
    """Let background texts stand beside the candidates, as `DecisionConfig.reject` does: where nothing of the list
    happens, nothing is found. False: every stretch is the likeliest class."""
    smooth: NonNegativeFloat = 1.0
    """Width over which scores are averaged in time, as a fraction of the window's length. 0: none."""
    threshold: Probability = 0.2
    """Least height of the averaged scores of a segment. The score of a window is the probability of the class among
    all candidates and background texts, so that above one half it is likelier than all else together, which predict
    calls a class; the average is lower, because windows around an event hold a part of it."""
    edge: Annotated[float, bounds(gt=0, lt=1)] = 0.5
    """A segment goes on while its score stays above this fraction of its highest."""
    snap: NonNegativeFloat = 3.0
    """By how many of its lengths an end of a segment may move to where the picture starts, or stops, to change clearly,
    beside what it changes by all the time; the further off, the clearer. 0: ends stay where the scores put them."""
    shots: bool = True
    """Let cuts, and the frames of cross-fades, be borders: no window that counts crosses one, and segments of a class
    that meet at one are one. A cut is where most of the picture changes much more than before. Shots that are shorter
    than the shortest window are none."""
    motion: bool = False
    """What is looked for are motions: the score of a segment is times the fraction of its frames in which a part of the
    picture changes beyond the noise, because nothing happens in a still picture. False: something in a still picture
    may be what is looked for, as a query for a thing is."""
    merge_s: NonNegativeFloat = 0.0
    """Two segments of a class with a gap of at most so many seconds become one. 0: a quarter of the shortest window."""
    overlap: Probability = 0.3
    """Of two segments of a class whose intersection is more than this fraction of the shorter one, the one with less
    evidence goes (non-maximum suppression): windows of several lengths find the same."""
