"""What to say of a video beside its most probable class: none of these, a set of classes, several classes.

Axes: n videos, V views, K candidates, B background texts, D numbers of a text's feature.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor

from vitaclip.catalog import load_dataset_classes
from vitaclip.data.labels import multi_hot
from vitaclip.evaluation.class_texts import ClassTexts
from vitaclip.evaluation.metrics import Scores
from vitaclip.evaluation.scoring import Aggregation, fuse_views
from vitaclip.files import write_json
from vitaclip.model import VideoModel
from vitaclip.names import in_words, text_key
from vitaclip.parts.contract import l2_normalize
from vitaclip.settings import FLAG, Config, bounds, from_dict, require
from vitaclip.strings import counted
from vitaclip.untrusted import read_json

NONE_OF_THESE = "none of these"
_CALIBRATE = "make one from labelled videos: vitaclip eval VIDEOS --model MODEL --save_calibration FILE.json"
_VIDEOS_AT_A_TIME = 1024
_LEAST = 1e-30  # of what is taken the logarithm of
_CATALOGUE = ("kinetics400", "ucf101", "hmdb51")
_ENOUGH, _MOST = 64, 4096
"""Below `_ENOUGH` texts the catalogue helps out; recombined names beyond `_MOST` are thinned out evenly."""
_EXCHANGES = 64  # words that one word is exchanged for, at most
_DIGITS = 9  # of a rank, so that 40 * (1 - 0.9) is 4


@dataclass(frozen=True, kw_only=True)
class DecisionConfig(Config):
    """What is said beside the most probable class."""

    reject: bool = field(default=False, metadata=FLAG)
    """Say "none of these" of a video that background texts describe better than all candidates together, see
    `make_background`; with a calibration, of one that is stranger than nearly all of its videos. A single candidate is
    such a question always."""
    calibration: str = ""
    """File that `vitaclip eval --save_calibration` wrote for the same candidates."""
    coverage: Annotated[float, bounds(ge=0, lt=1)] = 0.0
    """Give, by the calibration, a set of classes that holds the true one for this fraction of videos, such as 0.9; none
    at all says that no class is credible. 0: no sets."""
    keep: Annotated[float, bounds(gt=0, lt=1)] = 0.95
    """With a calibration, the fraction of videos of the candidates that `reject` keeps."""
    multi_label: bool = field(default=False, metadata=FLAG)
    """Give every class whose probability is above its threshold in the calibration, which is fitted on videos with
    several labels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("coverage", "multi_label"):
            calibrated = bool(self.calibration) or not getattr(self, name)
            require(calibrated, self, name, f"needs a calibration; {_CALIBRATE}")
        require(not (self.multi_label and self.coverage), self, "multi_label", "and coverage make two sets; choose one")


@dataclass(frozen=True)
class Calibration:
    """What labelled videos of the candidates came to, all values ascending."""

    class_names: tuple[str, ...]
    doubt: tuple[float, ...]
    """1 - the probability of the true class, of each video; empty where videos have several labels."""
    evidence: tuple[float, ...]
    """`Evidence.score` of each video."""
    background: str = ""
    """Which background texts there were."""
    thresholds: tuple[float, ...] = ()
    """(K,) of each class, where videos have several labels."""

    @classmethod
    def fit(cls, scores: Scores, evidence: Tensor, class_names: Sequence[str], background: str = "") -> "Calibration":
        """From the scores (n, K) of labelled videos, and their evidence (n,)."""
        doubt, thresholds = torch.empty(0), torch.empty(0)
        if scores.labels.dim() == 2:
            thresholds = best_thresholds(scores.probabilities, multi_hot(scores.labels, len(class_names)))
        else:
            doubt = 1 - scores.probabilities.gather(1, scores.labels[:, None])[:, 0]
        ascending = [tuple(values.sort().values.tolist()) for values in (doubt, evidence)]
        return cls(tuple(class_names), ascending[0], ascending[1], background, tuple(thresholds.tolist()))

    @classmethod
    def read(cls, file: str | Path) -> "Calibration":
        """As `write` left it.

        Raises:
            ValueError: for another file.
        """
        return from_dict(cls, read_json(file, _CALIBRATE))

    def write(self, file: str | Path) -> None:
        """Write a JSON file."""
        write_json(file, asdict(self))

    def sets(self, probabilities: Tensor, coverage: float) -> Tensor:
        """Which classes (n, K) are in each video's set: the true one is, for at least this fraction of videos drawn
        like those of the calibration (split conformal prediction; Sadinle et al., JASA 2019).

        Raises:
            ValueError: for fewer videos than such a fraction can be told from.
        """
        rank = math.ceil(round((len(self.doubt) + 1) * coverage, _DIGITS))
        if rank > len(self.doubt):
            least = math.ceil(round(coverage / (1 - coverage), _DIGITS))
            raise ValueError(
                f"coverage = {coverage}: needs a calibration of {least} videos with one label each, this one has"
                f" {len(self.doubt)}; take a smaller coverage or more videos"
            )
        return 1 - probabilities <= self.doubt[rank - 1]

    def strange(self, evidence: Tensor, keep: float) -> Tensor:
        """Which videos (n,) have less evidence than videos of the candidates mostly have. At least the fraction `keep`
        of such videos stays."""
        rank = math.floor(round((len(self.evidence) + 1) * (1 - keep), _DIGITS))
        return evidence < (self.evidence[rank - 1] if rank else -math.inf)


class Background(NamedTuple):
    """Texts beside the candidates: what a video may show instead of any of them, found without a single video."""

    names: tuple[str, ...]
    features: Tensor
    """(B, ...) made as those of the candidates."""
    note: str
    """Where they came from, in words."""


def recombined_names(names: Sequence[str]) -> list[str]:
    """Names that no class has but might: one word of a class name is exchanged for another, where two class names
    differ in just these two words.

    >>> recombined_names(["red key growing", "blue key growing", "red fish growing", "red fish swimming"])
    ['blue fish growing', 'blue fish swimming', 'blue key swimming', 'red key swimming']
    """
    rows = {tuple(text_key(in_words(name)).split()) for name in names}
    between: dict[object, set[str]] = defaultdict(set)
    for row in rows:
        for place, word in enumerate(row if len(row) > 1 else ()):
            between[row[:place], row[place + 1 :]].add(word)
    exchanges: dict[str, set[str]] = defaultdict(set)
    for words in between.values():
        for word in words:
            exchanges[word] |= {*sorted(words)[:_EXCHANGES]}
    made = {
        (*row[:place], other, *row[place + 1 :])
        for row in rows
        for place, word in enumerate(row)
        for other in sorted(exchanges[word])[:_EXCHANGES]
    }
    found = sorted(" ".join(row) for row in made - rows)
    return found[:: max(1, math.ceil(len(found) / _MOST))]


@torch.no_grad()
def make_background(model: VideoModel, texts: ClassTexts) -> Background | None:
    """The background of some candidates: their recombined names and the other classes that the model was trained on;
    and, where these are few, names of public data sets that are far from all candidates. None where no other text
    compares, because the model learned something for each class, or where it can read none.

    A name with all words of a candidate is a kind of it ("a red heart" of "a heart"), and left out. So is one with
    words that the tower of a small world never read: their features mean nothing, and may lie nearer to every video
    than what is in it. Names of other sources than the candidates themselves may mean what a candidate means. So a
    class of the model is left out that is nearer to a candidate than any two candidates or any two of these classes are
    to each other, and of data sets the nearer half, and those that share a word with a candidate (compare NegLabel,
    Jiang et al., ICLR 2024, which takes far labels of a dictionary).
    """
    head = model.head
    if not (texts.templates if head.per_class else head.learns_texts or head.takes_templates):
        return None
    asked = [_words(text) for text in {*texts.names, *texts.texts}]

    def new(names: Iterable[str]) -> list[str]:
        others = [name for name in names if not any(words <= _words(name) for words in asked)]
        return [name for name in others if not model.warn_of_words([name], texts.templates)]

    def encode(names: Sequence[str]) -> Tensor:
        return model.encode_text(names, texts.templates or None).to(texts.features)

    made = new(recombined_names(texts.texts))
    candidates = l2_normalize(texts.features.flatten(1))
    trained = [name for name in new(model.class_names) if name not in made]
    if trained:
        others = l2_normalize(encode(trained).flatten(1))
        least = max((each @ each.T).fill_diagonal_(-1).max().item() for each in (candidates, others))
        near = (others @ candidates.T).amax(dim=1)
        trained = [name for name, cosine in zip(trained, near.tolist(), strict=True) if cosine <= least]
    names, notes = made + trained, [f"{len(made)} recombined names"] * bool(made)
    notes += [f"{len(trained)} other classes of the model"] * bool(trained)
    if len(names) < _ENOUGH:
        listed = new(dict.fromkeys(name for data in _CATALOGUE for name in load_dataset_classes(data).prompts))
        far = [name for name in listed if not any(words & _words(name) for words in asked)]
        near = (l2_normalize(encode(far).flatten(1)) @ candidates.T).amax(dim=1) if far else torch.empty(0)
        far = [far[n] for n in near.argsort()[: len(far) // 2].tolist()]
        names, notes = names + far, [*notes, *[f"{len(far)} names of {', '.join(_CATALOGUE)}"] * bool(far)]
    return Background(tuple(names), encode(names), ", ".join(notes)) if names else None


def _words(text: str) -> frozenset[str]:
    """The words of a text that mean something: those of more than two letters, or all if none has more."""
    words = frozenset(text_key(in_words(text)).split())
    return frozenset(word for word in words if len(word) > 2) or words


class Evidence(NamedTuple):
    """What speaks for the candidates being right at all, of n videos."""

    score: Tensor
    """(n,) the higher, the likelier that it is one of the candidates: the highest logit of any (the energy of Liu et
    al., NeurIPS 2020, at low temperature), and with a background four times the logarithm of `known`. The background
    tells what texts can name, the logit also what none names. (Of 1, 2, 4 and 8 times: docs/python.md.)"""
    known: Tensor | None
    """(n,) how much of the probability is left to the candidates beside background texts, if there are any."""


class Decisions(NamedTuple):
    """What is said of n videos."""

    rejected: Tensor
    """(n,) bool: none of the candidates."""
    chosen: Tensor | None
    """(n, K) bool: the classes of a set, or several classes; None if nobody asked."""


class Decider:
    """Decides as a config says, for some candidates."""

    def __init__(self, model: VideoModel, texts: ClassTexts, config: DecisionConfig, *, measured: bool = False) -> None:
        """Read the calibration, and find the background.

        Args:
            model: compares.
            texts: the candidates.
            config: what is asked for.
            measured: decide on "none of these" wherever the model can, whether asked for or not.

        Raises:
            ValueError: for a calibration of other candidates, or nothing to reject by.
        """
        self.model, self.texts, self.config, file = model, texts, config, config.calibration
        self.calibration = Calibration.read(file) if file else None
        asked = config.reject or measured or len(texts.names) == 1
        self.background = make_background(model, texts) if asked else None
        self.note = self.background.note if self.background else ""
        self.rejects = asked and (self.background is not None or self.calibration is not None)
        if (config.reject or len(texts.names) == 1) and not self.rejects:
            raise ValueError(
                f"the head {model.head.name!r} can read no text beside {counted(len(texts.names), 'candidate')} that"
                " could stand for other videos; give templates, more candidates, or a calibration; or set"
                " reject = false"
            )
        if self.calibration is None:
            return
        if self.calibration.class_names != texts.names:
            raise ValueError(f"{file}: is of other classes than these {len(texts.names)}; {_CALIBRATE}")
        if self.rejects and self.calibration.background != self.note:
            made, here = (note or "no background" for note in (self.calibration.background, self.note))
            raise ValueError(f"{file}: was made beside {made}, here there is {here}; {_CALIBRATE}")
        if config.multi_label and not self.calibration.thresholds:
            raise ValueError(f"{file}: is of videos with one label each; calibrate on some with several")

    @torch.no_grad()
    def evidence(self, features: Tensor, aggregation: Aggregation) -> Evidence:
        """What speaks for the candidates, from features (n, V, ...)."""
        text, scores, known = self.texts.features, [torch.empty(0)], [torch.empty(0)]
        for some in features.split(_VIDEOS_AT_A_TIME) if len(features) else ():
            logits = self.model.logits(some.to(text).flatten(end_dim=1), text).unflatten(0, some.shape[:2])
            scores.append(logits.mean(dim=1).amax(dim=1).float().cpu())
            if self.background:
                joint = fuse_views(self.model, some, torch.cat([text, self.background.features]), aggregation)
                known.append(joint[:, : len(text)].sum(dim=1) / joint.sum(dim=1))
        score, shares = torch.cat(scores), torch.cat(known)
        return (
            Evidence(score + 4 * shares.clamp_min(_LEAST).log(), shares) if self.background else Evidence(score, None)
        )

    def decide(self, probabilities: Tensor, evidence: Evidence | None) -> Decisions:
        """Decide on n videos from their probabilities (n, K) and evidence, which `rejects` needs."""
        config, calibration = self.config, self.calibration
        rejected, chosen = torch.zeros(len(probabilities), dtype=torch.bool), None
        if self.rejects and evidence is not None:
            if calibration:
                rejected = calibration.strange(evidence.score, config.keep)
            elif evidence.known is not None:
                rejected = evidence.known < 0.5
        if calibration and config.multi_label:
            chosen = probabilities >= torch.tensor(calibration.thresholds)
        elif calibration and config.coverage:
            chosen = calibration.sets(probabilities, config.coverage)
        return Decisions(rejected, chosen)


@dataclass(frozen=True)
class DecisionResult:
    """How good decisions were; fractions are in [0, 1]."""

    background: str = ""
    """Which background texts there were."""
    kept: float | None = None
    """Of videos of the candidates, those that were not rejected."""
    rejected: float | None = None
    """Of videos of no candidate, those that were."""
    auroc: float | None = None
    """How often a video of the candidates has more evidence than one of none."""
    fpr: float | None = None
    """Of videos of no candidate, those with as much evidence as 95 % of the others have."""
    coverage: float | None = None
    """Videos whose set holds the true class."""
    mean_size: float | None = None
    """Classes of a set."""
    f1: float | None = None
    """Of several labels, over all videos and classes (micro)."""

    def figures(self) -> list[tuple[str, float, str]]:
        """Name, fraction and meaning of what was measured."""
        size = f"{self.mean_size or 0:.2f} classes a video"
        figures = (
            (
                "kept",
                self.kept,
                f'videos of the candidates not called "none of these", with {self.background or "a calibration"}',
            ),
            ("rejected", self.rejected, 'videos of no candidate called "none of these"'),
            ("AUROC", self.auroc, "how often more speaks for a video of the candidates than for one of none"),
            ("FPR", self.fpr, "videos of no candidate for which as much speaks as for 95 % of the others"),
            ("coverage", self.coverage, f"videos whose set of classes holds the true one; {size}"),
            ("F1", self.f1, f"of the labels given, over all videos and classes; {size}"),
        )
        return [(name, fraction, meaning) for name, fraction, meaning in figures if fraction is not None]


def measure(
    decider: Decider, scores: Scores, evidence: Evidence, unknown: tuple[Tensor, Evidence] | None = None
) -> DecisionResult:
    """How good decisions are: on labelled videos, and on the probabilities and the evidence of videos of no candidate
    (`unknown`)."""
    found: dict[str, Any] = {"background": decider.note}
    rejected, chosen = decider.decide(scores.probabilities, evidence)
    if decider.rejects:
        found["kept"] = 1 - float(rejected.double().mean())
    if unknown:
        found["auroc"], found["fpr"] = auroc(evidence.score, unknown[1].score), fpr(evidence.score, unknown[1].score)
        if decider.rejects:
            found["rejected"] = float(decider.decide(*unknown).rejected.double().mean())
    if chosen is not None:
        hot = multi_hot(scores.labels, scores.probabilities.shape[1]).bool()
        hits = float((hot & chosen).sum())
        found["mean_size"] = float(chosen.sum(dim=1).double().mean())
        if scores.labels.dim() == 2:
            found["f1"] = 2 * hits / max(1.0, float(hot.sum() + chosen.sum()))
        else:
            found["coverage"] = hits / len(hot)
    return DecisionResult(**found)


def auroc(positive: Tensor, negative: Tensor) -> float:
    """The chance that a positive score is above a negative one; ties count half."""
    below = torch.searchsorted(negative.sort().values, positive, right=False)
    not_above = torch.searchsorted(negative.sort().values, positive, right=True)
    return float((below + not_above).double().mean()) / 2 / len(negative)


def fpr(positive: Tensor, negative: Tensor, recall: float = 0.95) -> float:
    """The fraction of negative scores that pass where this fraction of the positive ones does."""
    passing = math.ceil(round(len(positive) * recall, _DIGITS))
    return float((negative >= positive.sort(descending=True).values[passing - 1]).double().mean())


def best_thresholds(probabilities: Tensor, hot: Tensor) -> Tensor:
    """(K,) for each class, the threshold with the best F1 on videos (n, K) whose labels are `hot`; of a class that no
    video has, one that nothing reaches."""
    values, order = probabilities.sort(dim=0, descending=True)
    hits, count = hot.gather(0, order).cumsum(0).double(), torch.arange(1, len(values) + 1)[:, None]
    f1 = 2 * hits / (count + hits[-1])
    f1[:-1][values[:-1] == values[1:]] = 0  # a threshold parts no equal scores
    return values.gather(0, f1.argmax(dim=0, keepdim=True))[0].where(hits[-1] > 0, 2.0)
