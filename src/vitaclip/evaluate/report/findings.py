"""What the report shows, worked out of the scores: classes, confusions, calibration.

Axes: n videos, K classes, V views.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vitaclip.evaluate.calibration import Calibration, accuracy_by_coverage, calibrate
from vitaclip.evaluate.evaluation import Evaluated
from vitaclip.evaluate.metrics import EvaluationResult

MISTAKES_OF_A_CLASS = 5
PAIRS = 6
EXAMPLES_OF_A_PAIR = 2


@dataclass(frozen=True)
class ClassFinding:
    """How the videos of a class fared."""

    name: str
    videos: int
    right: int
    mistaken_for: tuple[tuple[str, int], ...]
    """Other names given to its videos, most often first, with counts."""
    also_named: int
    """Videos of other classes that were given this name."""

    @property
    def accuracy(self) -> float:
        """Share of its videos named right."""
        return self.right / self.videos


@dataclass(frozen=True)
class Pair:
    """A class whose videos are taken for another."""

    truth: str
    chosen: str
    count: int
    videos: int
    """Of the true class."""
    examples: tuple[int, ...]
    """Places in the list, surest mistakes first."""


@dataclass(frozen=True)
class Findings:
    """Everything the page shows of one evaluation, but pictures."""

    result: EvaluationResult
    classes: tuple[ClassFinding, ...]
    """Those with videos, in the order of the candidates."""
    pairs: tuple[Pair, ...]
    """Most frequent first."""
    calibration: Calibration | None
    """None for a single video, which has no other half to fit a temperature on."""
    coverage: tuple[tuple[float, float], ...]
    """Share of videos answered, most confident first, and accuracy on them."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)


def examine(evaluated: Evaluated, names: Sequence[str]) -> Findings:
    """Work the findings out."""
    scores, result = evaluated.scores, evaluated.result
    return Findings(
        result=result,
        classes=_classes(result.confusion, names),
        pairs=_pairs(evaluated, names),
        calibration=calibrate(scores.probabilities, scores.labels) if len(scores.labels) > 1 else None,
        coverage=tuple(accuracy_by_coverage(scores.probabilities, scores.labels)),
    )


def _classes(confusion: Sequence[Sequence[int]], names: Sequence[str]) -> tuple[ClassFinding, ...]:
    columns = [sum(column) for column in zip(*confusion, strict=True)]
    found = []
    for place, row in enumerate(confusion):
        if not sum(row):
            continue
        others = sorted((-count, names[other]) for other, count in enumerate(row) if count and other != place)
        mistaken = tuple((name, -count) for count, name in others[:MISTAKES_OF_A_CLASS])
        found.append(ClassFinding(names[place], sum(row), row[place], mistaken, columns[place] - row[place]))
    return tuple(found)


def _pairs(evaluated: Evaluated, names: Sequence[str]) -> tuple[Pair, ...]:
    scores, confusion = evaluated.scores, evaluated.result.confusion
    sure, chosen = scores.probabilities.max(dim=1)
    wrong = sorted(
        (-count, true, other)
        for true, row in enumerate(confusion)
        for other, count in enumerate(row)
        if count and other != true
    )
    pairs = []
    for count, true, other in wrong[:PAIRS]:
        of_pair = ((scores.labels == true) & (chosen == other)).nonzero().flatten()
        surest = of_pair[sure[of_pair].argsort(descending=True, stable=True)][:EXAMPLES_OF_A_PAIR]
        examples = tuple(scores.rows[surest].tolist())
        pairs.append(Pair(names[true], names[other], -count, sum(confusion[true]), examples))
    return tuple(pairs)
