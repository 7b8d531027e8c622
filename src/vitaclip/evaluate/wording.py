"""How candidate names become text features: the learned context, hand-written templates, descriptions.

Axes: K names, D embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from vitaclip.model import VitaCLIP, unit
from vitaclip.names import ClassIndex
from vitaclip.untrusted import read_json

Descriptions = Mapping[str, tuple[str, ...]]
_BATCH_SIZE = 1024
"""Sentences that are encoded at a time."""


@dataclass(frozen=True)
class Wording:
    """What the user says about the texts of the candidates."""

    templates: tuple[str, ...] = ()
    """Texts with one `{}` each, in place of the learned context. Empty: see `plan_text`."""
    descriptions: Descriptions = field(default_factory=dict)
    """Sentences about each class, by its name. Empty: none."""


@dataclass(frozen=True)
class TextPlan:
    """What the text tower will be given, decided for one model and one list of names."""

    templates: tuple[str, ...]
    """Empty: what the model has learned."""
    note: str
    """The decision in words, to be shown."""


def plan_text(model: VitaCLIP, names: Sequence[str], wording: Wording) -> TextPlan:
    """Decide between learned context and templates.

    Templates given go first. A shared context serves any name. A context for each class, or a linear probe's vector,
    serves the classes it was trained on; if one name is not among them, all names go through the frozen text tower, in
    the templates of the model's config, since texts with and without learned context do not compare.
    """
    templates, config = wording.templates, model.config.text
    tower = "trained text tower" if model.config.train_towers and not config.linear else "frozen text tower"
    if templates:
        note = f"{_count(templates)} given, {tower}"
    elif model.prompts.text is None:
        templates = config.templates
        note = f"{_count(templates)} of the model's config, {tower}"
    elif not config.of_own_classes:
        note = "the learned context, shared by all names"
    else:
        unseen = [name for name in names if model.own_number(name) is None]
        templates = config.templates if unseen else ()
        note = f"the learned {config.of_own_classes} of each class"
        if unseen:
            note = (
                f"the model learned a {config.of_own_classes} for each of its {len(model.class_names)} classes, which"
                f" cannot serve {len(unseen)} of these {len(names)} names (such as {unseen[0]!r}); all go through the"
                f" {tower} instead, in {_count(templates)} of the model's config ({templates[0]!r})"
            )
    if wording.descriptions:
        note += "; half of each vector is the mean of the class's descriptions"
    return TextPlan(templates, note)


@torch.no_grad()
def encode_names(
    model: VitaCLIP, names: Sequence[str], wording: Wording | None = None, texts: Sequence[str] | None = None
) -> Tensor:
    """Text features (K, D), of unit length.

    With descriptions, a class is the mean of two unit vectors, of unit length again: that of its name, and that of
    the mean over its sentences' unit vectors. So a class with many sentences weighs its name like one with few.

    Args:
        model: holds the text tower and the learned context.
        names: what the classes are called; descriptions are found by it.
        wording: templates and descriptions.
        texts: what stands for each name in a text. None: the names.

    Raises:
        ValueError: for names the text tower cannot take, or a class without a description where there are some.
    """
    wording, texts = wording or Wording(), names if texts is None else texts
    features = model.encode_text(texts, plan_text(model, texts, wording).templates or None)
    if not wording.descriptions:
        return features
    sentences = _sentences_of(wording.descriptions, names, texts)
    described = [unit(_sum_features(model, each)) for each in sentences]
    return unit(features + torch.stack(described))


def _sum_features(model: VitaCLIP, sentences: Sequence[str]) -> Tensor:
    """The sum (D,) of the sentences' unit vectors, some at a time: a file may hold any number of sentences."""
    starts = range(0, len(sentences), _BATCH_SIZE)
    batches = (model.encode_text(sentences[start : start + _BATCH_SIZE], ["{}"]) for start in starts)
    return torch.stack([batch.sum(dim=0) for batch in batches]).sum(dim=0)


def read_descriptions(file: str | Path) -> dict[str, tuple[str, ...]]:
    """A JSON object of class names and, for each, a sentence or a list of sentences; `{}` in one stands for the name.

    Raises:
        ValueError: if it is not such a file.
    """
    content = read_json(file, "write an object: class name, then a list of sentences")
    if not content:
        raise ValueError(f"{file}: write a JSON object: class name, then a list of sentences")
    found: dict[str, tuple[str, ...]] = {}
    for name, value in content.items():
        sentences = [value] if isinstance(value, str) else value
        if not isinstance(sentences, list) or not sentences or not all(_is_text(each) for each in sentences):
            raise ValueError(f"{file}: {name!r} needs a sentence or a list of them, none blank")
        found[name] = tuple(sentences)
    return found


def _sentences_of(descriptions: Descriptions, names: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
    """The sentences of each class, found by its name or its text as labels are."""
    index, found = ClassIndex(tuple(descriptions)), []
    entries = list(descriptions.values())
    for name, text in zip(names, texts, strict=True):
        place = index.find(name)
        place = index.find(text) if place is None else place
        if place is None:
            raise ValueError(f"the descriptions do not say anything of class {name!r}; add it, or leave them out")
        found.append([sentence.replace("{}", text) for sentence in entries[place]])
    return found


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _count(templates: Sequence[str]) -> str:
    return f"{len(templates)} template{'' if len(templates) == 1 else 's'}"
