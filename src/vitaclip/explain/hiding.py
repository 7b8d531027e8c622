"""What becomes of a probability as frames are hidden.

A hidden frame is replaced by the nearest one that is not hidden, of two as near the earlier: the clip keeps its length
and shows nothing that the video does not, as a grey frame would.

Axes: n clips, T frames, H x W pixels.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Hiding:
    """The probability of a name with frames of a clip hidden."""

    one_hidden: tuple[float, ...]
    """T, with that frame alone hidden."""
    order: tuple[int, ...]
    """The T frames, most important first: the one whose hiding leaves the least."""
    curve: tuple[float, ...]
    """T, with the first 0, 1, .. T-1 frames of `order` hidden."""


def hide_frames(clip: Tensor, probability: Callable[[Tensor], Tensor]) -> Hiding:
    """Hide each frame by itself, then ever more of them.

    Args:
        clip: (T, 3, H, W).
        probability: of clips (n, T, 3, H, W), as (n,).

    Raises:
        ValueError: for a single frame, which has no other to take its place.
    """
    frames = range(len(clip))
    if len(frames) < 2:
        raise ValueError(
            "hiding frames needs a clip of at least 2; this model looks at 1: set --views.frames 2 or more"
        )
    one_hidden = hide_each(clip, probability, frames)
    order = sorted(frames, key=lambda t: one_hidden[t])
    curve = probability(_with_hidden(clip, (order[:count] for count in frames)))
    return Hiding(one_hidden, tuple(order), tuple(curve.tolist()))


def hide_each(clip: Tensor, probability: Callable[[Tensor], Tensor], frames: Iterable[int]) -> tuple[float, ...]:
    """The probability with each of some frames hidden by itself; see `hide_frames`."""
    return tuple(probability(_with_hidden(clip, ([t] for t in frames))).tolist())


def _with_hidden(clip: Tensor, choices: Iterable[Collection[int]]) -> Tensor:
    """The clip once for each choice of frames, with these hidden: (n, T, 3, H, W)."""
    return torch.stack([clip[stand_ins(len(clip), choice)] for choice in choices])


def stand_ins(num_frames: int, hidden: Collection[int]) -> list[int]:
    """The frame that is shown in each place of a clip."""
    shown = [t for t in range(num_frames) if t not in hidden]
    return [min(shown, key=lambda other: (abs(other - t), other)) for t in range(num_frames)]
