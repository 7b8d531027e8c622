"""Which wording of class names, in which text, names labelled videos right most often.

Axes: n videos, V views, K classes, D embedding, C candidates.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vitaclip.catalog import load_templates, template_names
from vitaclip.evaluate.class_names import suggest
from vitaclip.evaluate.evaluation import Evaluated
from vitaclip.evaluate.metrics import summarize
from vitaclip.evaluate.paired import Difference, compare, standard_error
from vitaclip.evaluate.report.findings import Pair, examine
from vitaclip.evaluate.scoring import Autocast, Average, VideoFeatures, fuse_views, score_videos
from vitaclip.evaluate.wording import Wording, encode_names, plan_text
from vitaclip.model import VitaCLIP, unit

AS_GIVEN, SUGGESTED = "as given", "as suggested"
LEARNED = "the learned context"
HALVINGS = 100

_Templates = tuple[str, ...]
"""Empty: the learned context."""


@dataclass(frozen=True)
class Trial:
    """A candidate: every name worded in one way, in one text."""

    wording: str
    """AS_GIVEN or SUGGESTED."""
    text: str
    """A template, or what a set of them or the learned context is called."""
    top1: float
    standard_error: float
    compared: Difference
    """With the present choice."""


@dataclass(frozen=True)
class NameGain:
    """A class that is better worded otherwise, all else as in the best text with names as given."""

    name: str
    suggestion: str
    compared: Difference
    """Top-1 over all videos, with this one name as suggested against all as given."""


@dataclass(frozen=True)
class WordingTrials:
    """What labelled videos say about wordings."""

    num_videos: int
    num_classes: int
    """Those with videos."""
    left_out: tuple[str, ...]
    """Videos that could not be read, with the reason."""
    present: Trial
    """What is used if nothing changes."""
    trials: tuple[Trial, ...]
    """All candidates, best first; among equals the present choice goes first."""
    suggestions_differ: bool
    """Whether the suggested names read otherwise to the text tower: capitals and underscores alone do not."""
    not_tried: tuple[str, ...]
    """Texts in which a name does not fit the text tower."""
    held_out_top1: float
    """Of whatever is best on a random half of the videos, on the other half; mean over halves."""
    pairs: tuple[Pair, ...]
    """Classes taken for each other under the best, most frequent first."""
    names: tuple[NameGain, ...]
    """Names whose suggestion alone is better by more than chance."""

    @property
    def verdict(self) -> str:
        """What to do, in a sentence."""
        best, tried = self.trials[0], len(self.trials)
        if best == self.present:
            return f"None of the {tried} candidates is better than the present choice."
        named = f"{best.text!r} with names {best.wording}"
        figures = f"{100 * best.compared.difference:+.1f} ± {100 * best.compared.standard_error:.1f} points"
        p_value = f"p = {best.compared.p_value:.4f}"
        if best.compared.beyond_chance:
            return f"{named} is better than the present choice by more than chance: {figures}, {p_value}."
        return (
            f"{named} comes first, but not by more than chance: {figures} from the present choice, {p_value}."
            " Label more videos before you change anything."
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)


@torch.no_grad()
def try_wordings(
    model: VitaCLIP,
    names: Sequence[str],
    videos: VideoFeatures,
    wording: Wording,
    average: Average = "softmax",
    autocast: Autocast = nullcontext,
    on_progress: Callable[[int], None] = lambda _: None,
) -> WordingTrials:
    """Score embedded videos with every wording of the names, in every text.

    The texts are those of the catalogue's sets, each set and each template alone, those of the model's config, and the
    learned context where it can serve the names.

    Args:
        model: whose towers embedded the videos.
        names: K class names as they are now.
        videos: labels count through the names.
        wording: the present choice.
        average: what is averaged over the views.
        autocast: context of the text tower's passes.
        on_progress: called with the number of texts just embedded, of `count_texts`.

    Raises:
        ValueError: for fewer than two videos, or names that do not fit the present choice.
    """
    if len(videos.labels) < 2:
        raise ValueError(f"{len(videos.labels)} video could be read: comparing wordings needs at least 2")
    present = plan_text(model, names, wording).templates
    texts, wordings = _texts(model, present), _wordings(model, names)
    features: dict[tuple[str, _Templates], Tensor] = {}  # (K, D) each
    for worded, each in wordings.items():
        with autocast():
            features |= {(worded, key): value for key, value in _embed(model, each, texts, on_progress).items()}
    if (AS_GIVEN, present) not in features:
        with autocast():
            encode_names(model, names, wording)  # says which name does not fit

    (views,) = videos.features.unbind(dim=1)  # of one model: (n, V, D)

    def right(text_features: Tensor) -> Tensor:
        return fuse_views(model, views, text_features, average).argmax(dim=1) == videos.labels

    # The present choice goes first, so that it wins among equals.
    candidates = sorted(features, key=lambda candidate: candidate != (AS_GIVEN, present))
    outcomes = torch.stack([right(features[candidate]) for candidate in candidates], dim=1)
    trials = _trials(candidates, texts, outcomes)
    best = candidates[int(outcomes.sum(dim=0).argmax())]
    scores = score_videos([model], videos, features[best].unsqueeze(0), average)
    return WordingTrials(
        num_videos=len(videos.labels),
        num_classes=len(videos.labels.unique()),
        left_out=tuple(videos.left_out.values()),
        present=trials[0],
        trials=tuple(sorted(trials, key=lambda trial: -trial.top1)),
        suggestions_differ=SUGGESTED in wordings,
        not_tried=tuple(label for key, label in texts.items() if (AS_GIVEN, key) not in features),
        held_out_top1=_held_out_top1(outcomes),
        pairs=examine(Evaluated(scores, summarize(scores, names)), names).pairs,
        names=_gains(model, names, wordings, features, best[1], right),
    )


def count_texts(model: VitaCLIP, names: Sequence[str], wording: Wording) -> int:
    """How many times `try_wordings` embeds all names."""
    return len(_texts(model, plan_text(model, names, wording).templates)) * len(_wordings(model, names))


def _wordings(model: VitaCLIP, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The names as given and, if they then read otherwise, as suggested."""
    suggested = tuple(suggest(name) for name in names)
    differ = any(_reads_otherwise(model, *pair) for pair in zip(names, suggested, strict=True))
    return {AS_GIVEN: tuple(names)} | ({SUGGESTED: suggested} if differ else {})


def _reads_otherwise(model: VitaCLIP, name: str, other: str) -> bool:
    """Whether the text tower gets other tokens; underscores are blanks to it."""
    return model.tokenizer.encode(name.replace("_", " ")) != model.tokenizer.encode(other.replace("_", " "))


def _texts(model: VitaCLIP, present: _Templates) -> dict[_Templates, str]:
    """What a name may stand in, each once, and what it is called."""
    sets = {load_templates(name): f"{name} ({len(load_templates(name))} templates)" for name in template_names()}
    config = model.config.text.templates
    given = {
        config: f"the {len(config)} templates of the model's config",
        present: f"the {len(present)} templates given",
    }
    alone = {(template,): template for templates in (*given, *sets) for template in templates}
    learned: dict[_Templates, str] = {(): LEARNED} if model.prompts.text is not None else {}
    return given | learned | sets | alone


def _embed(
    model: VitaCLIP, names: Sequence[str], texts: Mapping[_Templates, str], on_progress: Callable[[int], None]
) -> dict[_Templates, Tensor]:
    """Text features (K, D) of the names in each text that can take them; every template is embedded once."""
    alone: dict[str, Tensor] = {}
    found: dict[_Templates, Tensor] = {}
    for templates in sorted(texts, key=len):  # those alone before the sets that they make up
        on_progress(1)
        if not templates and plan_text(model, names, Wording()).templates:
            continue  # a context for each class, which does not serve these names
        if len(templates) > 1:
            if all(template in alone for template in templates):
                found[templates] = unit(torch.stack([alone[template] for template in templates]).sum(dim=0))
            continue
        try:
            found[templates] = encode_names(model, names, Wording(templates))
        except ValueError:
            continue  # a name does not fit
        if templates:
            alone[templates[0]] = found[templates]
    return found


def _trials(
    candidates: Sequence[tuple[str, _Templates]], texts: Mapping[_Templates, str], outcomes: Tensor
) -> list[Trial]:
    """The candidates with what came of them, in their order; the first is the present choice."""
    trials = []
    shares = outcomes.double().mean(dim=0).tolist()
    compared = compare(outcomes, outcomes[:, 0])
    for (worded, key), top1, difference in zip(candidates, shares, compared, strict=True):
        trials.append(Trial(worded, texts[key], top1, standard_error(top1, len(outcomes)), difference))
    return trials


def _held_out_top1(outcomes: Tensor) -> float:
    """Top-1 on one half of the videos of the candidate that is best on the other: what picking the best is worth."""
    generator = torch.Generator().manual_seed(0)
    shares = []
    for _ in range(HALVINGS):
        one, other = torch.randperm(len(outcomes), generator=generator).chunk(2)
        for picked_on, tested_on in ((one, other), (other, one)):
            best = int(outcomes[picked_on].sum(dim=0).argmax())
            shares.append(float(outcomes[tested_on, best].double().mean()))
    return sum(shares) / len(shares)


def _gains(
    model: VitaCLIP,
    names: Sequence[str],
    wordings: Mapping[str, Sequence[str]],
    features: Mapping[tuple[str, _Templates], Tensor],
    templates: _Templates,
    right: Callable[[Tensor], Tensor],
) -> tuple[NameGain, ...]:
    """Names whose suggestion alone, in this text, names more videos right than chance would."""
    given, suggested = features.get((AS_GIVEN, templates)), features.get((SUGGESTED, templates))
    if given is None or suggested is None:
        return ()
    places = [k for k, name in enumerate(names) if _reads_otherwise(model, name, wordings[SUGGESTED][k])]
    outcomes = []
    for k in places:
        changed = given.clone()
        changed[k] = suggested[k]
        outcomes.append(right(changed))
    compared = compare(torch.stack(outcomes, dim=1), right(given))
    gains = [
        NameGain(names[k], wordings[SUGGESTED][k], difference)
        for k, difference in zip(places, compared, strict=True)
        if difference.difference > 0 and difference.beyond_chance
    ]
    return tuple(sorted(gains, key=lambda gain: -gain.compared.difference))
