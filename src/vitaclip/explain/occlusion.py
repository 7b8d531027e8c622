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
    """T, with that frame alone occluded; empty for a clip of one frame, whose place no other can take."""
    order: tuple[int, ...]
    """The T frames, the most important first: the one whose occlusion leaves the lowest probability."""
    curve: tuple[float, ...]
    """T, with the first 0, 1, .. T-1 frames of `order` occluded."""


def occlude_frames(clip: Tensor, probability: Callable[[Tensor], Tensor]) -> Occlusion:
    """Occlude each frame of a clip (T, 3, H, W) alone, then more and more of them in the order of their importance.

    `probability` gives (n,) for clips (n, T, 3, H, W).
    """
    frames = range(len(clip))

    def probabilities(choices: Iterable[Collection[int]]) -> tuple[float, ...]:
        return tuple(probability(torch.stack([clip[stand_ins(len(clip), each)] for each in choices])).tolist())

    single = probabilities([t] for t in frames) if len(clip) > 1 else ()
    order = tuple(sorted(frames, key=lambda t: single[t])) if single else (0,)
    return Occlusion(single, order, probabilities(order[:count] for count in frames))


def stand_ins(num_frames: int, occluded: Collection[int]) -> list[int]:
    """The frame that is shown in each position of a clip.

    >>> stand_ins(5, [2])
    [0, 1, 1, 3, 4]
    """
    shown = [t for t in range(num_frames) if t not in occluded]
    return [min(shown, key=lambda other: (abs(other - t), other)) for t in range(num_frames)]
