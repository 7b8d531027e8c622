"""Running an evaluation: each model sees each video once, then every part is scored against its own candidates."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from vitaclip.data.config import ViewsConfig
from vitaclip.data.labels import label_tensor
from vitaclip.distributed import DistEnv
from vitaclip.evaluation.class_texts import ClassTexts
from vitaclip.evaluation.evaluation import Evaluated, Evaluator
from vitaclip.evaluation.metrics import EvaluationResult
from vitaclip.evaluation.protocol import Protocol
from vitaclip.evaluation.protocol_lists import EvalPart, Samples, union
from vitaclip.evaluation.scoring import VideoFeatures

StartProgress = Callable[[str, int], Callable[[int], None]]
"""Called with what begins and the number of its videos; returns a progress callback."""


@dataclass(frozen=True)
class PartResult:
    """One accuracy, with all that says what was scored."""

    part: EvalPart
    """The videos listed, which `evaluated.scores.indices` count through."""
    model: str
    """What the model is called."""
    texts: ClassTexts
    """The candidates; rows and columns of the confusion matrix are in their order."""
    never_trained: str
    """How many of the candidates the model was not trained on, such as `3 of 10`."""
    evaluated: Evaluated

    @property
    def result(self) -> EvaluationResult:
        """The accuracies."""
        return self.evaluated.result

    @property
    def name(self) -> str:
        """The part, and what its model goes by, such as `base_seed1`: files are named after it."""
        return "_".join([self.part.name, *(f"{word}{value}" for word, value in self.part.values.items())])

    @property
    def sha256(self) -> dict[str, str]:
        """Sums of lists, names and templates, by what they are of."""
        return {**self.part.sha256, **self.texts.sha256()}

    def to_dict(self) -> dict[str, Any]:
        """Everything but scores and videos, ready for JSON."""
        return {
            "part": self.part.name,
            "values": self.part.values,
            "model": self.model,
            "sha256": {"lists": self.part.sha256, **self.texts.sha256()},
            "training": self.part.training,
            "never_trained": self.never_trained,
            "note": self.part.note,
            "videos_listed": len(self.part.samples),
            "videos_scored": self.result.num_videos,
            **asdict(self.result),
            **({"decision": asdict(self.evaluated.decision)} if self.evaluated.decision else {}),
            "text": self.texts.note,
            "templates": self.texts.templates,
            "class_names": self.texts.names,
            "class_texts": self.texts.texts,
        }


@dataclass(frozen=True)
class ProtocolResult:
    """What a protocol comes to, or a list, which is one of a single part."""

    protocol: str
    """Its name; empty for a list."""
    about: str
    """Of a list, its file or folder."""
    variant: str
    """Empty, or what makes it another measurement, such as `as-published`."""
    views: ViewsConfig
    summary: dict[str, float]
    """Top-1 in [0, 1]: empty, or `mean` and `std` (population), or `base`, `novel` and `harmonic_mean`."""
    parts: tuple[PartResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON; of a list, the figures of its only part at the top."""
        values = asdict(replace(self, parts=()))
        if not self.protocol:
            return self.parts[0].to_dict() | {"videos": self.about, "views": values["views"]}
        return values | {"parts": [part.to_dict() for part in self.parts]}


def score_parts(
    evaluator: Evaluator, parts: Sequence[EvalPart], views: ViewsConfig, dist: DistEnv, start: StartProgress, name: str
) -> list[PartResult]:
    """Score a model on parts; a video of several is looked at once.

    Args:
        evaluator: of the model.
        parts: what it is scored on.
        views: how a video is looked at.
        dist: the processes that share the videos; each gets the result of all.
        start: see `StartProgress`.
        name: what the model is called.

    Raises:
        ValueError: a text does not fit (no video is opened before); or no video of a part could be read.
    """
    samples = union(
        [replace(part, samples={p: s for p, s in part.samples.items() if p not in part.missing}) for part in parts]
    )
    with dist.shared_errors():
        candidates = dict.fromkeys(part.candidates for part in parts)
        texts = {each: evaluator.encode_texts(each.names, each.prompts) for each in candidates}
    told = dict.fromkeys(f"{word} {value}" for part in parts for word, value in part.values.items())
    on_progress = start(", ".join(told) or "evaluating", evaluator.num_own_videos(len(samples)))
    videos = evaluator.encode([*samples.values()], views, [*texts.values()], on_progress)
    results = []
    for part in parts:
        own = texts[part.candidates]
        unknown = sum(evaluator.model.head.own_number(each) is None for each in own.names)
        evaluated = evaluator.score(_select(videos, samples, part), own)
        results.append(PartResult(part, name, own, f"{unknown} of {len(own.names)}", evaluated))
    return results


def summarize_parts(protocol: Protocol, parts: Sequence[PartResult]) -> dict[str, float]:
    """The figures that a protocol is quoted by."""
    top1 = [part.result.top1 for part in parts]
    if protocol.summary == "mean":
        return {"mean": statistics.fmean(top1), "std": statistics.pstdev(top1)}
    if protocol.summary == "harmonic_mean":
        means = {
            name: statistics.fmean(part.result.top1 for part in parts if part.part.name == name)
            for name in protocol.parts
        }
        return means | {"harmonic_mean": statistics.harmonic_mean(means.values())}
    return {}


def _select(videos: VideoFeatures, samples: Samples, part: EvalPart) -> VideoFeatures:
    """The embedded videos of a part, some of `samples`, with its labels, as indices into its samples; and why others
    are not there."""
    places = list(samples)
    position = {places[index]: n for n, index in enumerate(videos.indices.tolist())}
    reasons = {**part.missing, **{places[index]: reason for index, reason in videos.skipped.items()}}
    listed = list(enumerate(part.samples.items()))
    chosen = [position[place] for _, (place, _) in listed if place in position]
    most_labels = max((len(sample.labels) for sample in part.samples.values()), default=1)
    return replace(
        videos,
        features=videos.features[chosen],
        labels=label_tensor([sample.labels for _, (place, sample) in listed if place in position], most_labels),
        indices=torch.tensor([number for number, (place, _) in listed if place in position], dtype=torch.int64),
        skipped={number: reasons[place] for number, (place, _) in listed if place not in position},
    )
