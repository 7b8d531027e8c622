"""From probabilities to accuracies.

Axes: n videos, K classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from vitaclip.data.labels import multi_hot
from vitaclip.runtime import Computed


@dataclass(frozen=True)
class Scores:
    """What a model says of n videos."""

    probabilities: Tensor
    """(n, K)."""
    labels: Tensor
    """(n,) class indices; (n, M) where videos of the list have several, as `label_tensor` makes them."""
    indices: Tensor
    """(n,) which videos of the list they are."""
    skipped: Mapping[int, str] = field(default_factory=dict)
    """Index and reason of each video that could not be read; these are not among the n."""
    computed: Computed = field(default_factory=Computed)
    notes: tuple[str, ...] = ()
    """Of which of the n some frames could not be decoded, a line each."""


@dataclass(frozen=True)
class EvaluationResult:
    """Accuracies of one evaluation; fractions are in [0, 1]."""

    top1: float
    top5: float
    mean_class_accuracy: float
    num_videos: int
    num_classes: int
    skipped: tuple[str, ...]
    class_accuracy: dict[str, float] = field(repr=False)
    """The fraction of each class's videos that were named correctly, for classes that have videos."""
    confusion: list[list[int]] = field(repr=False)
    """Row: true class. Column: predicted class."""
    mean_average_precision: float | None = None
    """Of a list with several labels a video, the mean of the classes' average precision, which `class_accuracy` then
    holds; top-1 and top-5 count the videos of which one label is among the first names; `confusion` is empty."""
    device: str = ""
    precision: str = ""
    """See `Computed`."""
    notes: tuple[str, ...] = ()
    """See `Scores.notes`."""


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` independent videos, which also holds for few of them and near 0 and 1.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 1927.
    """
    z2 = 1.959964**2
    centre = share + z2 / (2 * count)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * count)) / count)
    scale = 1 + z2 / count
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


def top_k_accuracy(probabilities: Tensor, labels: Tensor, k: int) -> float:
    """The fraction of rows of (n, K) whose label is among the k most probable classes; all classes count if K < k."""
    best = probabilities.topk(min(k, probabilities.shape[1]), dim=1).indices
    return float(is_label(best, labels).any(dim=1).double().mean())


def is_label(choices: Tensor, labels: Tensor) -> Tensor:
    """Which choices (n,) or (n, k) of classes are among the labels (n,) or (n, M) of their video; bool like choices."""
    return (choices.view(len(choices), -1, 1) == labels.view(len(labels), 1, -1)).any(dim=2).view_as(choices)


def average_precision(scores: Tensor, positive: Tensor) -> float:
    """Area below the steps of precision over recall, of scores (n,) for videos of which some are positive, bool (n,).

    Equal scores count as one threshold. Source: scikit-learn's `average_precision_score`.
    """
    order = scores.argsort(descending=True)
    scores, found = scores[order], positive[order].cumsum(0)
    ends = torch.cat([(scores[1:] != scores[:-1]).nonzero().flatten(), torch.tensor([len(scores) - 1])])
    found = found[ends].double()
    gained = found.diff(prepend=found.new_zeros(1)) / found[-1]
    return float((found / (ends + 1) * gained).sum())


def calibration_error(probabilities: Tensor, labels: Tensor, num_bins: int = 15) -> float:
    """Expected calibration error: the mean distance, in [0, 1], between the confidence and the accuracy of videos that
    are sorted by confidence into bins of equal width. Confidence is the probability of the class that is named.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017. The upper end belongs to a bin.
    """
    confidence, predicted = probabilities.double().max(dim=1)
    bins = (confidence * num_bins).ceil().long().clamp(1, num_bins) - 1
    gaps = confidence.new_zeros(num_bins).index_add_(0, bins, confidence - (predicted == labels).double())
    return float(gaps.abs().sum()) / len(labels)


def summarize(scores: Scores, class_names: Sequence[str]) -> EvaluationResult:
    """Accuracies of scores over K named classes, those without a video aside.

    Raises:
        ValueError: if no video was scored.
    """
    probabilities, labels = scores.probabilities, scores.labels
    if not len(labels):
        raise ValueError("no video could be scored; see the reasons: " + "; ".join([*scores.skipped.values()][:3]))
    several = labels.dim() == 2
    if several:
        confusion: list[list[int]] = []
        columns = zip(class_names, probabilities.T, multi_hot(labels, len(class_names)).T, strict=True)
        by_class = {name: average_precision(column, has) for name, column, has in columns if has.any()}
    else:
        cells = labels * len(class_names) + probabilities.argmax(dim=1)
        confusion = torch.bincount(cells, minlength=len(class_names) ** 2).view(-1, len(class_names)).tolist()
        counted = zip(class_names, range(len(class_names)), confusion, strict=True)
        by_class = {name: row[number] / sum(row) for name, number, row in counted if any(row)}
    mean = sum(by_class.values()) / len(by_class)
    return EvaluationResult(
        top1=top_k_accuracy(probabilities, labels, 1),
        top5=top_k_accuracy(probabilities, labels, 5),
        mean_class_accuracy=mean,
        num_videos=len(labels),
        num_classes=len(class_names),
        skipped=tuple(scores.skipped.values()),
        class_accuracy=by_class,
        confusion=confusion,
        mean_average_precision=mean if several else None,
        notes=scores.notes,
        **asdict(scores.computed),
    )
