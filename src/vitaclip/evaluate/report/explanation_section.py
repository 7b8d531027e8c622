"""What a report shows of why a video was given its name; `vitaclip.explain.film_strip` computes it.

Axes: T frames of a clip that are shown, H x W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from vitaclip.data import VideoPath


@dataclass(frozen=True)
class PromptKind:
    """One kind of token that a frame's cls token may attend to, such as the patches or one kind of prompt."""

    name: str
    color: str
    attention_mass: tuple[float, ...]
    """T, in [0, 1]: the fraction of each frame's attention that goes there."""


@dataclass(frozen=True)
class ExplanationSection:
    """Why a video was given a name, measured on its middle clip alone."""

    overlays: Tensor
    """uint8 (T, 3, H, W): the frames with the last block's attention over them."""
    frame_numbers: tuple[int, ...]
    """T, their positions in the video, from 0."""
    kinds: tuple[PromptKind, ...]
    """The attention mass of a frame sums to 1 over all kinds."""
    probability: float
    """Of the name, from this clip."""
    occluded: tuple[float, ...]
    """T, the probability with that frame alone occluded; empty for a clip of one frame."""
    warning: str
    """What occlusion cannot tell of this video; mostly empty."""
    neighbours: tuple[tuple[str, float], ...]
    """Other candidates with the cosine between their text and the name's, nearest first."""


Explain = Callable[[VideoPath, str], ExplanationSection]
"""Explains why a model gives a video a name."""
