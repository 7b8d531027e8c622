"""How a probability changes as frames are occluded.

An occluded frame is replaced by the nearest frame that is not, of two as near by the earlier one. The clip keeps its
length and shows nothing that the video does not, as a grey frame would.

Axes: n clips, T frames, H x W pixels.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Occlusion:
    """The probability of a name with frames of a clip occluded."""

    single: tuple[float, ...]
    """T, with that frame alone occluded."""
    order: tuple[int, ...]
    """The T frames, the most important first: the one whose occlusion leaves the lowest probability."""
    curve: tuple[float, ...]
    """T, with the first 0, 1, .. T-1 frames of `order` occluded."""


def occlude_frames(clip: Tensor, probability: Callable[[Tensor], Tensor]) -> Occlusion:
    """Occlude each frame alone, then more and more of them in the order of their importance.

    Args:
        clip: (T, 3, H, W).
        probability: of clips (n, T, 3, H, W), as (n,).

    Raises:
        ValueError: for a single frame, which has no other to take its place.
    """
    frames = range(len(clip))
    if len(frames) < 2:
        raise ValueError(
            "occluding frames needs a clip of at least 2; this model looks at 1: set --views.frames 2 or more"
        )
    single = occlude_each(clip, probability, frames)
    order = sorted(frames, key=lambda t: single[t])
    curve = probability(_occluded(clip, (order[:count] for count in frames)))
    return Occlusion(single, tuple(order), tuple(curve.tolist()))


def occlude_each(clip: Tensor, probability: Callable[[Tensor], Tensor], frames: Iterable[int]) -> tuple[float, ...]:
    """The probability with each of some frames occluded alone; see `occlude_frames`."""
    return tuple(probability(_occluded(clip, ([t] for t in frames))).tolist())


def _occluded(clip: Tensor, choices: Iterable[Collection[int]]) -> Tensor:
    """The clip once for each choice of frames, with these occluded: (n, T, 3, H, W)."""
    return torch.stack([clip[stand_ins(len(clip), choice)] for choice in choices])


def stand_ins(num_frames: int, occluded: Collection[int]) -> list[int]:
    """The frame that is shown in each position of a clip.

    >>> stand_ins(5, [2])
    [0, 1, 1, 3, 4]
    """
    shown = [t for t in range(num_frames) if t not in occluded]
    return [min(shown, key=lambda other: (abs(other - t), other)) for t in range(num_frames)]
