"""What a report shows of why a video was given its name; `vitaclip.explain.strip` works it out.

Axes: T frames of a clip that are shown, H x W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from vitaclip.data import VideoPath


@dataclass(frozen=True)
class Kind:
    """Something that a frame's cls token may look at, such as the patches or a kind of prompt."""

    name: str
    colour: str
    shares: tuple[float, ...]
    """T, in [0, 1]: how much of its attention goes there."""


@dataclass(frozen=True)
class Why:
    """Why a video was given a name, told on the middle clip by itself."""

    attended: Tensor
    """uint8 (T, 3, H, W): the frames with the last block's attention over them."""
    frame_numbers: tuple[int, ...]
    """T, their places in the video, from 0."""
    kinds: tuple[Kind, ...]
    """Their shares of a frame sum to 1."""
    whole: float
    """Probability of the name from this clip."""
    hidden: tuple[float, ...]
    """T, the probability with that frame alone hidden; none for a clip of one frame."""
    warning: str
    """What hiding frames cannot tell of this video; mostly empty."""
    neighbours: tuple[tuple[str, float], ...]
    """Other candidates with the cosine of their texts and the name's, nearest first."""


Explain = Callable[[VideoPath, str], Why]
"""Why a model gives a video a name."""
