"""How candidate names become text features: the learned context, hand-written templates, descriptions.

Axes: K names, D embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from vitaclip.files import sha256_of_lines
from vitaclip.model import VideoModel
from vitaclip.names import ClassIndex
from vitaclip.untrusted import read_json

_BATCH_SIZE = 1024
"""Sentences that are encoded at a time."""
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
    prompts, texts = prompts or ClassPrompts(), names if texts is None else texts
    templates, note = resolve_templates(model, texts, prompts)
    features = model.encode_text(texts, templates or None)
    if prompts.descriptions:
        note += "; half of each vector is the mean of the class's descriptions"
        sentences = _sentences_of(prompts.descriptions, names, texts)
        described = torch.stack([_combine_sentences(model, each) for each in sentences])
        features = model.head.combine([features, described])
    # Whatever precision the text tower has, classes are compared outside of autocast.
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    return ClassTexts(tuple(names), tuple(texts), features, templates, prompts.descriptions, note)


def resolve_templates(model: VideoModel, texts: Sequence[str], prompts: ClassPrompts) -> tuple[tuple[str, ...], str]:
    """The templates that names go into, none for what the head has learned; and the decision in words.

    Templates given go first. What is learned for all classes alike serves any name. What is learned for each class
    serves the classes it was trained on; if one name is not among them, all names go through the text tower, in the
    templates of the model's config, since texts with and without learned context do not compare.

    Raises:
        ValueError: for templates, or names never trained on, that the head cannot take.
    """
    head, config, templates = model.head, model.config, prompts.templates
    tower = f"{'trained' if config.train in ('text', 'both') else 'frozen'} text tower"
    unseen = [name for name in texts if head.own_number(name) is None] if head.per_class else []
    if (templates or unseen) and not head.takes_templates:
        what = f"never trained on {unseen[0]!r}" if unseen else "has no place for templates"
        raise ValueError(f"the head {head.name!r} serves its own {len(model.class_names)} classes alone: it {what}")
    if templates:
        return templates, f"{_count(templates)} given, {tower}"
    if not head.learns_texts:
        return config.templates, f"{_count(config.templates)} of the model's config, {tower}"
    if not head.per_class:
        return (), "the learned context, shared by all names"
    if not unseen:
        return (), f"the learned {head.per_class} of each class"
    return config.templates, (
        f"the model learned a {head.per_class} for each of its {len(model.class_names)} classes, which cannot serve"
        f" {len(unseen)} of these {len(texts)} names (such as {unseen[0]!r}); all go through the {tower} instead, in"
        f" {_count(config.templates)} of the model's config ({config.templates[0]!r})"
    )


def _combine_sentences(model: VideoModel, sentences: Sequence[str]) -> Tensor:
    """One feature of a class from its sentences, some at a time: a file may hold any number of them."""
    starts = range(0, len(sentences), _BATCH_SIZE)
    batches = (model.encode_text(sentences[start : start + _BATCH_SIZE], ["{}"]) for start in starts)
    return model.head.combine([torch.stack([batch.sum(dim=0) for batch in batches]).sum(dim=0)[None]])[0]


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
