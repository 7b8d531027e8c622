"""What the demo finds out: accuracies before and after training, split into appearance and motion."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitaclip.evaluate.metrics import Scores, top_k_accuracy
from vitaclip.miniature.world import MOTIONS, appearance_of, motion_of


@dataclass(frozen=True)
class SplitResult:
    """Accuracies on the videos of one list of classes; shares in [0, 1]."""

    num_classes: int
    num_videos: int
    top1: float
    top5: float
    appearance: float
    """Share of videos whose predicted colour and shape are right, whatever the motion."""
    motion: float
    """Share of videos whose motion is right when appearance is given: only the eight classes with the true colour
    and shape compete. Chance is 1 in 8."""
    motion_confusion: list[list[int]]
    """Rows: true motion. Columns: the motion chosen with appearance given. Both in the order of `MOTIONS`."""


@dataclass(frozen=True)
class CurvePoint:
    """A logged training step."""

    step: int
    loss: float
    top1: float
    """Share of the step's clips that were named right."""


@dataclass(frozen=True)
class Example:
    """A video of the test lists with what was said about it."""

    path: str
    truth: str
    trained: bool
    """Whether its class was trained on."""
    frames: list[str]
    """PNG pictures as data URIs, in order of time."""
    before: list[tuple[str, float]]
    """Frozen CLIP's best names with their probabilities, best first."""
    after: list[tuple[str, float]]
    """The trained model's."""


@dataclass(frozen=True)
class Stage:
    """A model's accuracies on both lists of classes."""

    trained: SplitResult
    novel: SplitResult


@dataclass(frozen=True)
class DemoResult:
    """Everything that the demo's page shows."""

    seed: int
    steps: int
    batch_size: int
    train_videos: int
    trainable_parameters: int
    frozen_parameters: int
    machine: str
    seconds: dict[str, float]
    """Wall-clock time of each part, in order."""
    before: Stage
    """Frozen CLIP: mean of its frame features, names in a template."""
    after: Stage
    """The prompts that the demo has just trained."""
    shipped: Stage | None
    """The prompts that come with the package, trained longer by the same code."""
    curve: list[CurvePoint]
    examples: list[Example]


def split_result(scores: Scores, class_names: Sequence[str]) -> SplitResult:
    """Accuracies of scores over names of the miniature world (appearance, then motion; all motions of each)."""
    looks = [appearance_of(name) for name in class_names]
    moves = torch.tensor([MOTIONS.index(motion_of(name)) for name in class_names])
    same_look = torch.tensor([[a == b for b in looks] for a in looks])
    given = scores.probabilities.masked_fill(~same_look[scores.labels], -1)
    chosen, true = moves[given.argmax(dim=1)], moves[scores.labels]
    predicted = scores.probabilities.argmax(dim=1)
    return SplitResult(
        num_classes=len(class_names),
        num_videos=len(scores.labels),
        top1=top_k_accuracy(scores.probabilities, scores.labels, 1),
        top5=top_k_accuracy(scores.probabilities, scores.labels, 5),
        appearance=float(same_look[scores.labels, predicted].double().mean()),
        motion=float((chosen == true).double().mean()),
        motion_confusion=_count_pairs(true, chosen),
    )


def figures(scores: Scores, class_names: Sequence[str]) -> dict[str, float]:
    """What a table tells of the miniature world."""
    result = split_result(scores, class_names)
    return {"top1": result.top1, "appearance": result.appearance, "motion": result.motion}


def _count_pairs(true: Tensor, chosen: Tensor) -> list[list[int]]:
    """Counts (motions, motions) of pairs."""
    count = len(MOTIONS)
    return torch.bincount(true * count + chosen, minlength=count**2).view(count, count).tolist()
