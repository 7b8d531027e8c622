"""Background texts: what a video may show instead of any candidate, found without a single video.

Axes: K candidates, B background texts, D numbers of a text's feature.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitaclip.catalog import load_dataset_classes
from vitaclip.evaluation.class_texts import ClassTexts
from vitaclip.model import VideoModel
from vitaclip.names import in_words, text_key
from vitaclip.parts.contract import l2_normalize

_CATALOGUE = ("kinetics400", "ucf101", "hmdb51")
_ENOUGH, _MOST = 64, 4096
"""Below `_ENOUGH` texts the catalogue helps out; recombined names beyond `_MOST` are thinned out evenly."""
_EXCHANGES = 64  # words that one word is exchanged for, at most


@dataclass(frozen=True)
class Background:
    """Texts beside the candidates."""

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
    candidates = _unit(texts.features)
    trained = [name for name in new(model.class_names) if name not in made]
    if trained:
        others = _unit(encode(trained))
        least = max((each @ each.T).fill_diagonal_(-1).max().item() for each in (candidates, others))
        near = (others @ candidates.T).amax(dim=1)
        trained = [name for name, cosine in zip(trained, near.tolist(), strict=True) if cosine <= least]
    names, notes = made + trained, [f"{len(made)} recombined names"] * bool(made)
    notes += [f"{len(trained)} other classes of the model"] * bool(trained)
    if len(names) < _ENOUGH:
        listed = new(dict.fromkeys(name for data in _CATALOGUE for name in load_dataset_classes(data).prompts))
        far = [name for name in listed if not any(words & _words(name) for words in asked)]
        near = (_unit(encode(far)) @ candidates.T).amax(dim=1) if far else torch.empty(0)
        far = [far[n] for n in near.argsort()[: len(far) // 2].tolist()]
        names, notes = names + far, [*notes, *[f"{len(far)} names of {', '.join(_CATALOGUE)}"] * bool(far)]
    return Background(tuple(names), encode(names), ", ".join(notes)) if names else None


def _words(text: str) -> frozenset[str]:
    """The words of a text that mean something: those of more than two letters, or all if none has more."""
    words = frozenset(text_key(in_words(text)).split())
    return frozenset(word for word in words if len(word) > 2) or words


def _unit(features: Tensor) -> Tensor:
    return l2_normalize(features.flatten(start_dim=1))
