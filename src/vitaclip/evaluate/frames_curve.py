"""How many frames are enough: top-1 over the number of frames a clip, on the same videos with the same views.

Axes: n videos, C numbers of frames.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from vitaclip.evaluate.evaluation import Evaluated, Evaluation
from vitaclip.evaluate.paired import Difference, compare


@dataclass(frozen=True)
class FramesPoint:
    """One number of frames."""

    frames: int
    """Of each clip."""
    top1: float
    compared: Difference
    """With the reference."""


@dataclass(frozen=True)
class FramesCurve:
    """Top-1 by the number of frames, each with its difference to one of them."""

    num_videos: int
    """Those that could be read with every number of frames."""
    reference: int
    """Frames that the others are compared with: those of the evaluation itself."""
    points: tuple[FramesPoint, ...]
    """Fewest frames first."""
    enough: int
    """The fewest frames that are not shown to be worse than the reference."""

    @property
    def top1(self) -> dict[int, float]:
        """Top-1 by the number of frames."""
        return {point.frames: point.top1 for point in self.points}

    @property
    def verdict(self) -> str:
        """What the curve says, in a sentence or two."""
        fewer = [point.frames for point in self.points if point.frames < self.reference]
        better = [p.frames for p in self.points if p.compared.difference > 0 and p.compared.beyond_chance]
        said = []
        if self.enough < self.reference:
            frames = "1 frame is" if self.enough == 1 else f"{self.enough} frames are"
            said.append(f"{frames} not shown to be worse than {self.reference} by these {self.num_videos:,} videos.")
        elif fewer:
            said.append(f"All fewer frames that were tried are worse than {self.reference} by more than chance.")
        if better:
            said.append(f"Better by more than chance: {', '.join(map(str, better))}.")
        return " ".join(said)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)


def other_frames(evaluation: Evaluation, frames: Sequence[int]) -> list[Evaluation]:
    """The evaluation with each of these numbers of frames that is not its own; none if none are given.

    Raises:
        ValueError: if its own is the only one.
    """
    others = [evaluation.with_frames(number) for number in sorted(set(frames)) if number != evaluation.frames]
    if frames and not others:
        raise ValueError(f"frames curve: {evaluation.frames} frames are the evaluation itself; give other numbers too")
    return others


def measure_frames(
    evaluation: Evaluation,
    evaluated: Evaluated,
    others: Sequence[Evaluation],
    start: Callable[[str], Callable[[int], None]],
) -> FramesCurve:
    """Run the evaluation with other numbers of frames.

    Args:
        evaluation: what the others are compared with.
        evaluated: what it came to.
        others: from `other_frames`.
        start: hears what begins; returns what is to be called with the number of videos just done.
    """
    found = {each.frames: each.run(start(f"evaluating, T = {each.frames}")) for each in others}
    return frames_curve({evaluation.frames: evaluated, **found}, evaluation.frames)


def frames_curve(evaluated: Mapping[int, Evaluated], reference: int) -> FramesCurve:
    """The curve of evaluations of one list, by their number of frames.

    Raises:
        ValueError: if no video could be read with every number of frames.
    """
    numbers = sorted(evaluated)
    # A damaged video may give one frame and not sixteen.
    common = set.intersection(*(set(each.scores.rows.tolist()) for each in evaluated.values()))
    if not common:
        raise ValueError("frames curve: no video could be read with every number of frames; mend or leave out some")
    right = torch.stack([_right(evaluated[number], common) for number in numbers], dim=1)
    compared = compare(right, right[:, numbers.index(reference)])
    top1 = right.double().mean(dim=0).tolist()
    points = tuple(FramesPoint(*each) for each in zip(numbers, top1, compared, strict=True))
    worse = {point.frames for point in points if point.compared.difference < 0 and point.compared.beyond_chance}
    return FramesCurve(len(common), reference, points, min(set(numbers) - worse))


def _right(evaluated: Evaluated, rows: set[int]) -> torch.Tensor:
    """(n,) whether each of these videos is named right, in the order of the list."""
    scores = evaluated.scores
    right = (scores.probabilities.argmax(dim=1) == scores.labels).tolist()
    found = dict(zip(scores.rows.tolist(), right, strict=True))
    return torch.tensor([found[row] for row in sorted(rows)])
