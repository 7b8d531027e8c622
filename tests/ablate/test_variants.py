"""The variants of the package, and files of one's own that add to them."""

from pathlib import Path
from typing import Any

import pytest

from tiny import tiny_backbone
from vitaclip.ablate.variants import SHIPPED, Claim, Variant, load_comparison
from vitaclip.model import VideoModel
from vitaclip.recipes import load_recipe
from vitaclip.settings import to_dict
from vitaclip.train.config import TrainConfig

TRAINS: dict[str, set[str]] = {
    # Written out here: the kinds of numbers that train, beside the temperature.
    "frozen": set(),
    "text_context_only": {"learned_text"},
    "global_only": {"global"},
    "linear_probe": {"linear"},
    "fine_tuning": {"backbone"},
    "fine_tuning_with_time": {"backbone", "time"},
    "full": {"global", "local", "summary", "time", "cls_proj", "learned_text"},
    "no_summary": {"global", "local", "time", "cls_proj", "learned_text"},
    "no_local": {"global", "summary", "time", "cls_proj", "learned_text"},
    "no_global": {"local", "summary", "time", "cls_proj", "learned_text"},
    "no_time": {"global", "local", "summary", "cls_proj", "learned_text"},
    "no_text_context": {"global", "local", "summary", "time", "cls_proj"},
}


def own_file(tmp_path: Path, text: str) -> str:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return str(file)


WITH_PROMPTS = ["k400_vitb16_8f", "miniature", "vitaclip"]
"""Recipes that have every kind of context."""


@pytest.mark.parametrize("recipe", WITH_PROMPTS)
def test_each_variant_of_the_package_trains_what_it_says(recipe: str) -> None:
    comparison = load_comparison()
    assert {variant.name for variant in comparison.variants} == set(TRAINS)
    for variant in comparison.variants:
        model = VideoModel(tiny_backbone(), variant.config(load_recipe(recipe)).model, ("run", "sit"))
        trains = {kind for kind, count in model.trained_counts().items() if count}
        assert trains == TRAINS[variant.name] | {"logit_scale"}, variant.name


def test_claims_of_the_package_are_about_rows_that_there_are() -> None:
    comparison = load_comparison()
    rows = {row for variant in comparison.variants for row in variant.rows}
    assert comparison.claims
    assert {name for claim in comparison.claims for name in (claim.better, claim.than)} <= rows


def test_an_override_changes_its_field_alone() -> None:
    base = TrainConfig()
    changed = to_dict(Variant(name="a", overrides={"model.context.global.count": 3, "seed": 5}).config(base))
    expected = to_dict(base)
    expected["model"]["context"]["global"]["count"], expected["seed"] = 3, 5
    assert changed == expected


def test_ones_own_file_adds_to_the_package(tmp_path: Path) -> None:
    mine = "variants:\n  fine_tuning: {overrides: {optim.learning_rate: 1.0e-3}}\n  full:\n  more: {about: 16 of them,"
    mine += " overrides: {model.context.global.count: 16}, interpolate: {scores: [0.5]}}\n"
    comparison = load_comparison(own_file(tmp_path, mine))
    tuned, full, more = comparison.variants
    (shipped,) = load_comparison(names=["fine_tuning"]).variants
    assert tuned.overrides == {**shipped.overrides, "optim.learning_rate": 1e-3}
    assert tuned.weights == shipped.weights
    assert full == load_comparison(names=["full"]).variants[0]
    assert more.rows == ("more", "more scores 0.5")
    assert comparison.claims == load_comparison().claims


def test_a_variant_may_be_like_another(tmp_path: Path) -> None:
    mine = "variants:\n  slow: {like: fine_tuning, about: slowly, overrides: {optim.learning_rate: 1.0e-7}}\n"
    mine += "  slower: {like: slow, overrides: {optim.learning_rate: 1.0e-8}}\n"
    slow, slower = load_comparison(own_file(tmp_path, mine)).variants
    (shipped,) = load_comparison(names=["fine_tuning"]).variants
    assert slow.overrides == {**shipped.overrides, "optim.learning_rate": 1e-7}
    assert slower.overrides == {**shipped.overrides, "optim.learning_rate": 1e-8}
    assert (slow.about, slower.about, slow.weights) == ("slowly", "slowly", shipped.weights)
    with pytest.raises(ValueError, match=r"no variant 'fine_tunin' \(did you mean 'fine_tuning'\?\)"):
        load_comparison(own_file(tmp_path, "variants: {a: {like: fine_tunin}}"))


def test_names_choose_among_both_and_own_claims_take_the_place_of_the_packages(tmp_path: Path) -> None:
    mine = "variants: {mine: }\nclaims: [{says: mine is good, better: mine, than: frozen}]"
    comparison = load_comparison(own_file(tmp_path, mine), ["frozen", "mine"])
    assert [variant.name for variant in comparison.variants] == ["frozen", "mine"]
    assert comparison.claims == (Claim(says="mine is good", better="mine", than="frozen"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a", "write `variants:` and below it a name"),
        ("variants: {a: [", "is not YAML"),
        ("variants: {a: 3}", "variant a: write a mapping"),
        ("variants: {a b: }", "'a b': names a folder; write letters, digits, _ and - only"),
        ("variants: {a: {interpolate: {scores: [2]}}}", "variant a: .*ratios from 0"),
        ("variants: {a: {interpolate: {score: [0.5]}}}", "no field 'score'"),
        ("variants: {a: }\nclaims: {b: c}", "claims: write a list"),
    ],
)
def test_a_wrong_file_is_one_line(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        load_comparison(own_file(tmp_path, content))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.context.sumary": {}}, "variant a: model.context: there is no part 'sumary' .did you mean 'summary'"),
        ({"model.sampling.stride.deep": False}, "variant a: the config has no field"),
        ({"model.context.global.count": -1}, "variant a: GlobalConfig.count = -1"),
    ],
)
def test_a_wrong_override_is_one_line(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Variant(name="a", overrides=overrides).config(TrainConfig())


def test_an_unknown_variant_is_named() -> None:
    with pytest.raises(ValueError, match=r"no variant 'no_sumary' \(did you mean 'no_summary'\?\)"):
        load_comparison(names=["no_sumary"])
    assert SHIPPED.is_file()
