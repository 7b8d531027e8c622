"""What to say of a video beside its most probable class: none of these, a set of classes, several classes.

Axes: n videos, V views, K candidates.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from vitaclip.data.labels import multi_hot
from vitaclip.evaluation.background import Background, make_background, reads_background
from vitaclip.evaluation.class_texts import ClassTexts
from vitaclip.evaluation.metrics import Scores
from vitaclip.evaluation.scoring import Aggregation, fuse_views
from vitaclip.files import write_json
from vitaclip.model import VideoModel
from vitaclip.settings import FLAG, Config, bounds, from_dict, require
from vitaclip.untrusted import read_json

NONE_OF_THESE = "none of these"
_CALIBRATE = "make one from labelled videos: vitaclip eval VIDEOS --model MODEL --save_calibration FILE.json"
_VIDEOS_AT_A_TIME = 1024
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
    evidence: Mapping[str, tuple[float, ...]]
    """See `Decider.evidence`."""
    thresholds: tuple[float, ...] = ()
    """(K,) of each class, where videos have several labels."""

    @classmethod
    def fit(cls, scores: Scores, evidence: Mapping[str, Tensor], class_names: Sequence[str]) -> "Calibration":
        """From the scores of labelled videos, and their evidence."""
        listed = {name: tuple(values.sort().values.tolist()) for name, values in evidence.items()}
        if scores.labels.dim() == 2:
            hot = multi_hot(scores.labels, len(class_names))
            return cls(tuple(class_names), (), listed, tuple(best_thresholds(scores.probabilities, hot).tolist()))
        doubt = 1 - scores.probabilities.gather(1, scores.labels[:, None])[:, 0]
        return cls(tuple(class_names), tuple(doubt.sort().values.tolist()), listed)

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

    def strange(self, evidence: Mapping[str, Tensor], keep: float) -> Tensor:
        """Which videos (n,) have less evidence than videos of the candidates mostly have. At least the fraction `keep`
        of such videos stays; each kind of evidence may spend an equal part of the rest."""
        kinds = [name for name in self.evidence if name in evidence]
        verdicts = []
        for name in kinds:
            known = self.evidence[name]
            rank = math.floor(round((len(known) + 1) * (1 - keep) / len(kinds), _DIGITS))
            verdicts.append(evidence[name] < (known[rank - 1] if rank else -math.inf))
        return torch.stack(verdicts).any(dim=0)


@dataclass(frozen=True)
class Decisions:
    """What is said of n videos."""

    known: Tensor | None
    """(n,) how much of the probability is left to the candidates beside background texts, if there are any."""
    rejected: Tensor
    """(n,) bool: none of the candidates."""
    chosen: Tensor | None
    """(n, K) bool: the classes of a set, or several classes; None if nobody asked."""


class Decider:
    """Decides as a config says, for some candidates."""

    def __init__(self, model: VideoModel, texts: ClassTexts, config: DecisionConfig) -> None:
        """Raises:
        ValueError: for a calibration of other candidates, or background texts that the model cannot read.
        """
        self.model, self.texts, self.config = model, texts, config
        self.calibration = Calibration.read(config.calibration) if config.calibration else None
        if self.calibration and self.calibration.class_names != texts.names:
            raise ValueError(f"{config.calibration}: is of other classes than these {len(texts.names)}; {_CALIBRATE}")
        if config.multi_label and self.calibration and not self.calibration.thresholds:
            raise ValueError(f"{config.calibration}: is of videos with one label each; calibrate on some with several")
        reads = reads_background(model, texts)
        self.rejects = config.reject or (len(texts.names) == 1 and reads)
        needed = self.rejects and (reads or self.calibration is None)
        self.background: Background | None = make_background(model, texts) if needed else None

    @torch.no_grad()
    def evidence(self, features: Tensor, aggregation: Aggregation) -> dict[str, Tensor]:
        """What speaks for the candidates being right at all, (n,) each, from features (n, V, ...): `known`, the part of
        the probability that they have beside the background; `logit`, the highest logit of any, which needs none."""
        found: dict[str, list[Tensor]] = defaultdict(list)
        text = self.texts.features
        for some in features.split(_VIDEOS_AT_A_TIME):
            logits = self.model.logits(some.to(text).flatten(end_dim=1), text).unflatten(0, some.shape[:2])
            found["logit"].append(logits.mean(dim=1).amax(dim=1).float().cpu())
            if self.background is not None:
                joint = fuse_views(self.model, some, torch.cat([text, self.background.features]), aggregation)
                found["known"].append(joint[:, : len(text)].sum(dim=1) / joint.sum(dim=1))
        return {name: torch.cat(parts) for name, parts in found.items()}

    def decide(self, features: Tensor, probabilities: Tensor, aggregation: Aggregation) -> Decisions:
        """Decide on n videos from their features (n, V, ...) and probabilities (n, K)."""
        config, calibration = self.config, self.calibration
        known, rejected, chosen = None, torch.zeros(len(features), dtype=torch.bool), None
        if self.rejects:
            evidence = self.evidence(features, aggregation)
            known = evidence.get("known")
            rejected = calibration.strange(evidence, config.keep) if calibration else evidence["known"] < 0.5
        if calibration and config.multi_label:
            chosen = probabilities >= torch.tensor(calibration.thresholds)
        elif calibration and config.coverage:
            chosen = calibration.sets(probabilities, config.coverage)
        return Decisions(known, rejected, chosen)


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
    """How often a video of the candidates is more known than one of none."""
    coverage: float | None = None
    """Videos whose set holds the true class."""
    mean_size: float | None = None
    """Classes of a set."""
    f1: float | None = None
    """Of several labels, over all videos and classes (micro)."""

    def lines(self) -> dict[str, str]:
        """The figures in words."""
        rejects = {
            "videos of the candidates kept": self.kept,
            "others rejected": self.rejected,
            "AUROC": self.auroc,
        }
        told = [f"{self.background} beside them"] * bool(self.background)
        told += [f"{name} {share:.2%}" for name, share in rejects.items() if share is not None]
        size = "" if self.mean_size is None else f", {self.mean_size:.2f} classes in the mean"
        found = {
            NONE_OF_THESE: ", ".join(told),
            "sets": "" if self.coverage is None else f"coverage {self.coverage:.2%}{size}",
            "several labels": "" if self.f1 is None else f"F1 {self.f1:.2%}{size}",
        }
        return {name: text for name, text in found.items() if text}


def measure(scores: Scores, decisions: Decisions, unknown: Decisions | None, note: str = "") -> DecisionResult:
    """Compare decisions with the labels of the videos, and with those on videos of no candidate."""
    found: dict[str, Any] = {}
    if decisions.known is not None:
        found |= {"background": note, "kept": 1 - float(decisions.rejected.double().mean())}
        if unknown is not None and unknown.known is not None:
            found["rejected"] = float(unknown.rejected.double().mean())
            found["auroc"] = auroc(decisions.known, unknown.known)
    if decisions.chosen is not None:
        hot = multi_hot(scores.labels, scores.probabilities.shape[1]).bool()
        hits = float((hot & decisions.chosen).sum())
        found["mean_size"] = float(decisions.chosen.sum(dim=1).double().mean())
        if scores.labels.dim() == 2:
            found["f1"] = 2 * hits / max(1.0, float(hot.sum() + decisions.chosen.sum()))
        else:
            found["coverage"] = hits / len(hot)
    return DecisionResult(**found)


def auroc(positive: Tensor, negative: Tensor) -> float:
    """The chance that a positive score is above a negative one; ties count half."""
    below = torch.searchsorted(negative.sort().values, positive, right=False)
    not_above = torch.searchsorted(negative.sort().values, positive, right=True)
    return float((below + not_above).double().mean()) / 2 / len(negative)


def best_thresholds(probabilities: Tensor, hot: Tensor) -> Tensor:
    """(K,) for each class, the threshold with the best F1 on videos (n, K) whose labels are `hot`; of a class that no
    video has, one that nothing reaches."""
    values, order = probabilities.sort(dim=0, descending=True)
    hits, count = hot.gather(0, order).cumsum(0).double(), torch.arange(1, len(values) + 1)[:, None]
    f1 = 2 * hits / (count + hits[-1])
    f1[:-1][values[:-1] == values[1:]] = 0  # a threshold parts no equal scores
    return values.gather(0, f1.argmax(dim=0, keepdim=True))[0].where(hits[-1] > 0, 2.0)
