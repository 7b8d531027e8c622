"""Text features of candidates, against vectors added up by hand; and what is decided for names never trained on."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tiny import learned_text, tiny_model
from vitaclip.evaluation.class_texts import encode_classes, resolve_templates
from vitaclip.parts.heads.learned_text import LearnedTextHead

TRAINED = ("jump up", "run", "sit down")


def per_class() -> dict[str, Any]:
    return {"head": learned_text(3, per_class=True), "templates": ("a photo of {}.", "a video {}.")}


def test_shared_context_serves_any_name() -> None:
    model = tiny_model(TRAINED)
    assert resolve_templates(model, ["stand"])[1] == "the learned context, shared by all names"
    torch.testing.assert_close(encode_classes(model, ["stand", "run"]).features, model.encode_text(["stand", "run"]))


def test_context_per_class_serves_its_own_classes() -> None:
    model = tiny_model(TRAINED, **per_class())
    assert isinstance(model.head, LearnedTextHead)
    torch.nn.init.normal_(model.head.context)
    expected = model.encode_text(TRAINED)
    torch.testing.assert_close(encode_classes(model, ["sit down", "jump up"]).features, expected[[2, 0]])


@pytest.mark.parametrize("spelling", [str.upper, str.title, lambda name: name.replace(" ", "_")])
def test_trained_classes_are_known_in_any_spelling(spelling: Callable[[str], str]) -> None:
    model = tiny_model(TRAINED, **per_class())
    names = [spelling(name) for name in TRAINED]
    texts = encode_classes(model, names)
    assert texts.note == "the learned context of each class"
    torch.testing.assert_close(texts.features, encode_classes(model, TRAINED).features, rtol=0, atol=0)


def test_unseen_names_go_through_the_text_tower() -> None:
    model = tiny_model(TRAINED, **per_class())
    texts = encode_classes(model, ["run", "stand"])
    assert "cannot serve 1 of these 2 names (such as 'stand')" in texts.note
    assert "2 templates of the model's config ('a photo of {}.')" in texts.note
    expected = model.encode_text(["run", "stand"], ["a photo of {}.", "a video {}."])
    torch.testing.assert_close(texts.features, expected)


def test_templates_given_go_first() -> None:
    model = tiny_model(TRAINED)
    texts = encode_classes(model, TRAINED, ["a video of {}."])
    assert texts.note == "1 template given, frozen text tower"
    torch.testing.assert_close(texts.features, model.encode_text(TRAINED, ["a video of {}."]))
