"""Text features of candidates, against vectors added up by hand; and what is decided for names never trained on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from tiny import tiny_model
from vitaclip.config import TextPromptConfig
from vitaclip.evaluate.wording import Wording, encode_names, plan_text, read_descriptions
from vitaclip.prompts import TextPrompts

TRAINED = ("jump up", "run", "sit down")


def per_class() -> TextPromptConfig:
    return TextPromptConfig(num_context=3, per_class=True, templates=("a photo of {}.", "a video {}."))


def test_a_shared_context_serves_any_name() -> None:
    model = tiny_model(TRAINED)
    assert plan_text(model, ["stand"], Wording()).note == "the learned context, shared by all names"
    torch.testing.assert_close(encode_names(model, ["stand", "run"]), model.encode_text(["stand", "run"]))


def test_a_context_per_class_serves_some_of_its_classes_in_any_order() -> None:
    model = tiny_model(TRAINED, text=per_class())
    assert isinstance(model.prompts.text, TextPrompts)
    torch.nn.init.normal_(model.prompts.text.context)
    expected = model.encode_text(TRAINED)
    torch.testing.assert_close(encode_names(model, ["sit down", "jump up"]), expected[[2, 0]])


@pytest.mark.parametrize("spelling", [str.upper, str.title, lambda name: name.replace(" ", "_")])
def test_trained_classes_are_known_in_any_spelling(spelling: Callable[[str], str]) -> None:
    model = tiny_model(TRAINED, text=per_class())
    names = [spelling(name) for name in TRAINED]
    assert plan_text(model, names, Wording()).note == "the learned context of each class"
    torch.testing.assert_close(encode_names(model, names), encode_names(model, TRAINED), rtol=0, atol=0)


def test_unseen_names_of_a_per_class_model_go_through_the_frozen_text_tower_and_it_is_said() -> None:
    model = tiny_model(TRAINED, text=per_class())
    plan = plan_text(model, ["run", "stand"], Wording())
    assert "cannot serve 1 of these 2 names (such as 'stand')" in plan.note
    assert "2 templates of the model's config ('a photo of {}.')" in plan.note
    expected = model.encode_text(["run", "stand"], ["a photo of {}.", "a video {}."])
    torch.testing.assert_close(encode_names(model, ["run", "stand"]), expected)


def test_templates_given_go_first() -> None:
    model = tiny_model(TRAINED)
    plan = plan_text(model, TRAINED, Wording(("a video of {}.",)))
    assert plan.note == "1 template given, frozen text tower"
    features = encode_names(model, TRAINED, Wording(("a video of {}.",)))
    torch.testing.assert_close(features, model.encode_text(TRAINED, ["a video of {}."]))


def test_descriptions_are_half_of_each_vector() -> None:
    model = tiny_model(TRAINED)
    descriptions = {"Jump_up": ("one very long jump", "up"), "sit": ("{} on two",), "other": ("three",)}
    found = encode_names(model, ["jump up", "sit"], Wording((), descriptions))
    own = model.encode_text(["jump up", "sit"])
    first, second = model.encode_text(["one very long jump", "up"], ["{}"])
    third = model.encode_text(["sit on two"], ["{}"])[0]
    described = torch.stack([F.normalize((first + second) / 2, dim=0), third])
    torch.testing.assert_close(found, F.normalize(own + described, dim=1))
    with pytest.raises(ValueError, match="do not say anything of class 'run'; add it"):
        encode_names(model, ["run", "sit"], Wording((), descriptions))


def test_texts_may_differ_from_names_and_descriptions_are_found_by_either() -> None:
    model = tiny_model(TRAINED)
    wording = Wording((), {"jump up": ("one",)})
    found = encode_names(model, ["J"], wording, ["jump up"])
    torch.testing.assert_close(found, encode_names(model, ["jump up"], wording))


def test_descriptions_are_read_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "descriptions.json"
    file.write_text(json.dumps({"run": "one sentence", "sit": ["two", "three"]}))
    assert read_descriptions(file) == {"run": ("one sentence",), "sit": ("two", "three")}
    for content, message in (
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ('{"run": []}', "'run' needs a sentence"),
        ('{"run": [" "]}', "'run' needs a sentence"),
    ):
        file.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_descriptions(file)
