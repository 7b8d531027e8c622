"""How candidate names become text features: the learned context, hand-written templates, descriptions.

Axes: K names, D embedding.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from vitaclip.backbones.hub import DEFAULT_BACKBONE
from vitaclip.files import sha256_of_lines
from vitaclip.model import VideoModel
from vitaclip.names import ClassIndex
from vitaclip.untrusted import read_json

_BATCH_SIZE = 1024
"""Sentences that are encoded at a time."""
SMALL_VOCABULARY = 1000
"""A tokenizer of fewer entries has the words of a small world alone, such as the miniature's."""
Descriptions = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class ClassPrompts:
    """What the user says about the texts of the candidates."""

    templates: tuple[str, ...] = ()
    """Texts with one `{}` each, in place of what the model has learned. Empty: see `resolve_templates`."""
    descriptions: Descriptions = field(default_factory=dict)
    """Sentences about each class, by its name. Empty: none."""


@dataclass(frozen=True)
class ClassTexts:
    """Candidates as class features. Made once per request by `encode_classes`; every output reads this."""

    names: tuple[str, ...]
    """K names."""
    texts: tuple[str, ...]
    """What stands for each name in a text."""
    features: Tensor
    """(K, ...) for `VideoModel.logits`, in float32 at least."""
    templates: tuple[str, ...]
    """What they were put in; empty: what the model has learned."""
    descriptions: Descriptions
    """Sentences that are half of each feature; mostly none."""
    note: str
    """How the features were made, in a line for the user."""

    def sha256(self) -> dict[str, str]:
        """Sums of the names, of what stands for them in a text, and of templates and descriptions, if there are any."""
        said = {"candidates": self.names, "texts": self.texts, "templates": self.templates}
        sentences = [f"{name}\t{text}" for name, each in self.descriptions.items() for text in each]
        lines = {**said, "descriptions": sentences}
        return {what: sha256_of_lines(each) for what, each in lines.items() if each}


@torch.no_grad()
def encode_classes(
    model: VideoModel,
    names: Sequence[str],
    prompts: ClassPrompts | None = None,
    texts: Sequence[str] | None = None,
) -> ClassTexts:
    """Decide how names become features, and make them.

    With descriptions, a class is the mean of two unit vectors, of unit length again: that of its name, and that of
    the mean over its sentences' unit vectors. So a class with many sentences weighs its name like one with few.

    Args:
        model: holds the text tower and what was learned.
        names: what the classes are called; descriptions are found by it.
        prompts: templates and descriptions.
        texts: what stands for each name in a text. None: the names.

    Raises:
        ValueError: for names the text tower cannot take, or a class without a description where there are some.
    """
    prompts, texts = prompts or ClassPrompts(), tuple(names if texts is None else texts)
    templates, note = resolve_templates(model, texts, prompts)
    if strange := unknown_words(model, texts):
        more = f" and {len(strange) - 3} more words" if len(strange) > 3 else ""
        warning = (
            f"this model knows a small synthetic world alone and never read {', '.join(map(repr, strange[:3]))}{more}:"
            f" what it answers for names with them means nothing; for real videos take {DEFAULT_BACKBONE}"
        )
        warnings.warn(warning, stacklevel=2)
        note = f"{note}; {warning}"
    features = model.encode_text(texts, templates or None)
    if prompts.descriptions:
        note += "; half of each vector is the mean of the class's descriptions"
        features = model.head.combine([features, _describe(model, names, texts, prompts.descriptions)])
    # Whatever precision the text tower has, classes are compared outside of autocast.
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    return ClassTexts(tuple(names), texts, features, templates, prompts.descriptions, note)


def unknown_words(model: VideoModel, texts: Sequence[str]) -> list[str]:
    """Words that the text tower reads in pieces, if it has the words of a small world alone; else none.

    >>> unknown_words(VideoModel.from_pretrained("miniature"), ["blue key growing", "opening a door"])
    ['opening', 'door']
    """
    tokenizer = model.backbone.tokenizer
    if tokenizer.vocab_size >= SMALL_VOCABULARY:
        return []
    words = dict.fromkeys(re.findall(r"[^\W_]+", " ".join(texts)))
    return [word for word in words if len(tokenizer.encode(word)) > 1]


def resolve_templates(model: VideoModel, texts: Sequence[str], prompts: ClassPrompts) -> tuple[tuple[str, ...], str]:
    """The templates that names go into, none for what the head has learned; and the decision in words.

    Templates given go first. What is learned for all classes alike serves any name. What is learned for each class
    serves the classes it was trained on; if one name is not among them, all names go through the text tower, in the
    templates of the model's config, since texts with and without learned context do not compare.

    Raises:
        ValueError: for templates, or names never trained on, that the head cannot take.
    """
    head, own, given = model.head, model.config.templates, prompts.templates
    tower = f"{'trained' if model.config.train in ('text', 'both') else 'frozen'} text tower"
    unseen = [name for name in texts if head.own_number(name) is None] if head.per_class else []
    if (given or unseen) and not head.takes_templates:
        what = f"never trained on {unseen[0]!r}" if unseen else "has no place for templates"
        raise ValueError(f"the head {head.name!r} serves its own {len(model.class_names)} classes alone: it {what}")
    if given:
        return given, f"{_count(given)} given, {tower}"
    if not head.learns_texts:
        return own, f"{_count(own)} of the model's config, {tower}"
    if not head.per_class:
        return (), "the learned context, shared by all names"
    if not unseen:
        return (), f"the learned {head.per_class} of each class"
    return own, (
        f"the model learned a {head.per_class} for each of its {len(model.class_names)} classes, which cannot serve"
        f" {len(unseen)} of these {len(texts)} names (such as {unseen[0]!r}); all go through the {tower} instead, in"
        f" {_count(own)} of the model's config ({own[0]!r})"
    )


def _count(templates: Sequence[str]) -> str:
    return f"{len(templates)} template{'' if len(templates) == 1 else 's'}"


def _describe(model: VideoModel, names: Sequence[str], texts: Sequence[str], descriptions: Descriptions) -> Tensor:
    """One feature (K, ...) of each class from its sentences, which are found by its name or its text, as labels are."""
    index, entries, features = ClassIndex(tuple(descriptions)), list(descriptions.values()), []
    for name, text in zip(names, texts, strict=True):
        number = index.find(name) if index.find(name) is not None else index.find(text)
        if number is None:
            raise ValueError(f"the descriptions do not say anything of class {name!r}; add it, or leave them out")
        sentences = [sentence.replace("{}", text) for sentence in entries[number]]
        starts = range(0, len(sentences), _BATCH_SIZE)  # a file may hold any number of them
        sums = [model.encode_text(sentences[start : start + _BATCH_SIZE], ["{}"]).sum(dim=0) for start in starts]
        features.append(torch.stack(sums).sum(dim=0))
    return model.head.combine([torch.stack(features)])


def read_descriptions(file: str | Path) -> dict[str, tuple[str, ...]]:
    """A JSON object of class names and, for each, a sentence or a list of sentences; `{}` in one stands for the name.

    Raises:
        ValueError: if it is not such a file.
    """
    remedy = "write an object: class name, then a list of sentences"
    content = read_json(file, remedy)
    if not content:
        raise ValueError(f"{file}: says nothing of any class; {remedy}")
    found: dict[str, tuple[str, ...]] = {}
    for name, value in content.items():
        sentences = [value] if isinstance(value, str) else value
        good = isinstance(sentences, list) and all(isinstance(each, str) and each.strip() for each in sentences)
        if not good or not sentences:
            raise ValueError(f"{file}: {name!r} needs a sentence or a list of them, none blank")
        found[name] = tuple(sentences)
    return found
