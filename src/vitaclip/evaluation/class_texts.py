"""How candidate names become text features: the learned context, or hand-written templates.

Axes: K names, D embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitaclip.files import sha256_of_lines
from vitaclip.model import VideoModel
from vitaclip.names import in_order
from vitaclip.strings import counted


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
    note: str
    """How the features were made, in a line for the user."""
    warning: str = ""
    """What `VideoModel.encode_text` warned of; may be empty."""

    def sha256(self) -> dict[str, str]:
        """Sums of the names, of what stands for them in a text, and of templates, if there are any."""
        lines = {"candidates": self.names, "texts": self.texts, "templates": self.templates}
        return {what: sha256_of_lines(each) for what, each in lines.items() if each}


@torch.no_grad()
def encode_classes(
    model: VideoModel,
    names: Sequence[str],
    templates: Sequence[str] = (),
    texts: Sequence[str] | None = None,
    features: Tensor | None = None,
) -> ClassTexts:
    """Decide how names become features, and make them.

    Args:
        model: holds the text tower and what was learned.
        names: what the classes are called.
        templates: texts with one `{}` each, in place of what the model has learned; none: see `resolve_templates`.
        texts: what stands for each name in a text. None: the names.
        features: what `model.encode_text` gave for these texts and templates, where that is known already.

    Raises:
        ValueError: for names that the text tower cannot take.
    """
    templates = in_order(templates, "templates")
    texts = tuple(names if texts is None else texts)
    chosen, note = resolve_templates(model, texts, templates)
    features = model.encode_text(texts, chosen or None) if features is None else features
    # Whatever precision the text tower has, classes are compared outside of autocast.
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    return ClassTexts(tuple(names), texts, features, chosen, note, model.warn_of_words(texts, chosen))


def resolve_templates(
    model: VideoModel, texts: Sequence[str], given: Sequence[str] = ()
) -> tuple[tuple[str, ...], str]:
    """The templates that names go into, none for what the head has learned; and the decision in words.

    Templates given go first. What is learned for all classes alike serves any name. What is learned for each class
    serves the classes it was trained on; if one name is not among them, all names go through the text tower, in the
    templates of the model's config, since texts with and without learned context do not compare.

    Raises:
        ValueError: for templates, or names never trained on, that the head cannot take.
    """
    head, own = model.head, model.config.templates
    tower = f"{'trained' if model.config.train in ('text', 'both') else 'frozen'} text tower"
    unseen = [name for name in texts if head.own_number(name) is None] if head.per_class else []
    if (given or unseen) and not head.takes_templates:
        what = f"never trained on {unseen[0]!r}" if unseen else "has no place for templates"
        raise ValueError(f"the head {head.name!r} serves its own {len(model.class_names)} classes alone: it {what}")
    if given:
        return tuple(given), f"{counted(len(given), 'template')} given, {tower}"
    if not head.learns_texts:
        return own, f"{counted(len(own), 'template')} of the model's config, {tower}"
    if not head.per_class:
        return (), "the learned context, shared by all names"
    if not unseen:
        return (), f"the learned {head.per_class} of each class"
    return own, (
        f"the model learned a {head.per_class} for each of its {len(model.class_names)} classes, which cannot serve"
        f" {len(unseen)} of these {len(texts)} names (such as {unseen[0]!r}); all go through the {tower} instead, in"
        f" {counted(len(own), 'template')} of the model's config ({own[0]!r})"
    )
