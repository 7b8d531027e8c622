"""How many frames are enough: top-1 over the number of frames a clip, on the same videos with the same views.

Axes: n videos, C numbers of frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vitaclip.data.config import ViewsConfig
from vitaclip.evaluate.evaluation import Evaluated, Evaluator
from vitaclip.evaluate.metrics import is_label


@dataclass(frozen=True)
class FramesPoint:
    """One number of frames."""

    frames: int
    """Of each clip."""
    top1: float
    difference: float
    """From the top-1 of the reference, in [-1, 1]."""
    standard_error: float
    """Of the difference, paired: a video that both name alike does not count."""


@dataclass(frozen=True)
class FramesCurve:
    """Top-1 by the number of frames, each with its difference to one of them."""

    num_videos: int
    """Those that could be read with every number of frames."""
    reference: int
    """Frames that the others are compared with: those of the evaluation itself."""
    points: tuple[FramesPoint, ...]
    """Fewest frames first."""

    @property
    def top1(self) -> dict[int, float]:
        """Top-1 by the number of frames."""
        return {point.frames: point.top1 for point in self.points}

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)


def views_by_frames(evaluator: Evaluator, views: ViewsConfig, frames: Sequence[int]) -> dict[int, ViewsConfig]:
    """The views with each number of frames a clip: first their own, then the others that are given.

    Raises:
        ValueError: if some are given, and none of them is another number.
    """
    own = evaluator.num_frames(views)
    others = sorted(set(frames) - {own})
    if frames and not others:
        raise ValueError(f"frames curve: {own} frames are the evaluation itself; give other numbers too")
    return {own: views} | {number: replace(views, frames=number) for number in others}


def frames_curve(evaluated: Mapping[int, Evaluated], reference: int) -> FramesCurve:
    """The curve of evaluations of one list, by their number of frames, compared with the reference.

    Raises:
        ValueError: if no video could be read with every number of frames.
    """
    numbers = sorted(evaluated)
    # A damaged video may give one frame and not sixteen.
    common = set.intersection(*(set(each.scores.rows.tolist()) for each in evaluated.values()))
    if not common:
        raise ValueError("frames curve: no video could be read with every number of frames; mend or leave out some")
    correct = torch.stack([_correct(evaluated[number], common) for number in numbers])  # (C, n) of 0 and 1
    gains = correct - correct[numbers.index(reference)]
    errors = gains.std(dim=1, correction=0) / len(common) ** 0.5
    columns = (numbers, correct.mean(dim=1).tolist(), gains.mean(dim=1).tolist(), errors.tolist())
    return FramesCurve(len(common), reference, tuple(FramesPoint(*each) for each in zip(*columns, strict=True)))


def _correct(evaluated: Evaluated, rows: set[int]) -> Tensor:
    """(n,) float64, 1 where these videos are named correctly, in the order of the list."""
    scores = evaluated.scores
    correct = is_label(scores.probabilities.argmax(dim=1), scores.labels).double()
    return correct[torch.tensor([row in rows for row in scores.rows.tolist()])]
