"""What the report shows, worked out of the scores: classes, confusions, calibration error."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vitaclip.evaluate.evaluation import Evaluated
from vitaclip.evaluate.metrics import EvaluationResult, calibration_error

MIN_VIDEOS_FOR_CALIBRATION = 100
"""With fewer, the bins hold a handful of videos each, and the error is noise."""
_CONFUSIONS_PER_CLASS, _PAIRS, _EXAMPLES_PER_PAIR = 5, 6, 2


@dataclass(frozen=True)
class ClassSummary:
    """How the videos of a class were named."""

    name: str
    videos: int
    correct: int
    confused_with: tuple[tuple[str, int], ...]
    """Other names given to its videos with counts, the most frequent first."""

    @property
    def accuracy(self) -> float:
        """The fraction of its videos that were named correctly."""
        return self.correct / self.videos


@dataclass(frozen=True)
class ConfusedPair:
    """A class whose videos are taken for another."""

    truth: str
    predicted: str
    count: int
    videos: int
    """Of the true class."""
    examples: tuple[int, ...]
    """Indices into the list, the most confident mistakes first."""


@dataclass(frozen=True)
class EvalSummary:
    """Everything that the page shows of one evaluation, except pictures."""

    result: EvaluationResult
    classes: tuple[ClassSummary, ...]
    """Those with videos, in the order of the candidates."""
    pairs: tuple[ConfusedPair, ...]
    """The most frequent first."""
    calibration_error: float | None
    """None for fewer than `MIN_VIDEOS_FOR_CALIBRATION` videos."""


def summarize_evaluation(evaluated: Evaluated, names: Sequence[str]) -> EvalSummary:
    """Count what each class was named, find the most frequent confusions, and measure calibration. `names` are the
    candidates in the order of the scores' columns."""
    scores, confusion = evaluated.scores, evaluated.result.confusion
    enough = len(scores.labels) >= MIN_VIDEOS_FOR_CALIBRATION and scores.labels.dim() == 1
    classes = [
        ClassSummary(names[k], sum(row), row[k], tuple(_confusions(row, k, names)))
        for k, row in enumerate(confusion)
        if sum(row)
    ]
    error = calibration_error(scores.probabilities, scores.labels) if enough else None
    return EvalSummary(evaluated.result, tuple(classes), tuple(_pairs(evaluated, names)), error)


def _confusions(row: Sequence[int], true: int, names: Sequence[str]) -> list[tuple[str, int]]:
    others = sorted((-count, names[other]) for other, count in enumerate(row) if count and other != true)
    return [(name, -count) for count, name in others[:_CONFUSIONS_PER_CLASS]]


def _pairs(evaluated: Evaluated, names: Sequence[str]) -> Iterator[ConfusedPair]:
    scores, confusion = evaluated.scores, evaluated.result.confusion
    confidence, predicted = scores.probabilities.max(dim=1)
    cells = [(-count, true, other) for true, row in enumerate(confusion) for other, count in enumerate(row)]
    wrong = sorted((count, true, other) for count, true, other in cells if count and true != other)
    for count, true, other in wrong[:_PAIRS]:
        of_pair = ((scores.labels == true) & (predicted == other)).nonzero().flatten()
        surest = of_pair[confidence[of_pair].argsort(descending=True, stable=True)][:_EXAMPLES_PER_PAIR]
        examples = tuple(scores.indices[surest].tolist())
        yield ConfusedPair(names[true], names[other], -count, sum(confusion[true]), examples)
