"""The variants of the package, and files of one's own that add to them."""

from pathlib import Path
from typing import Any

import pytest

from tiny import tiny_backbone
from vitaclip.ablate.variants import Claim, Variant, load_comparison
from vitaclip.model import VideoModel
from vitaclip.recipes import load_recipe
from vitaclip.settings import to_dict
from vitaclip.training.config import TrainConfig

TRAINS: dict[str, set[str]] = {
    # Written out here: the kinds of numbers that train, beside the temperature.
    "frozen": set(),
    "evl": {"decode", "classifier"},
    "evl_no_convolution": {"decode", "classifier"},
    "evl_no_positions": {"decode", "classifier"},
    "evl_no_motion": {"decode", "classifier"},
    "evl_zero_shot": {"decode"},
    "evl_vitaclip": {"global", "local", "summary", "time", "cls_proj", "learned_text", "decode"},
    "xclip": {"backbone", "cls_proj", "summary", "integrate", "video_read"},
    "xclip_no_messages": {"backbone", "integrate", "video_read"},
    "xclip_no_integration": {"backbone", "cls_proj", "summary", "integrate", "video_read"},
    "xclip_no_video_read": {"backbone", "cls_proj", "summary", "integrate"},
    "vifi": {"backbone"},
    "text_context_only": {"learned_text"},
    "global_only": {"global"},
    "linear_probe": {"linear"},
    "fine_tuning": {"backbone"},
    "fine_tuning_with_time": {"backbone", "time"},
    "full": {"global", "local", "summary", "time", "cls_proj", "learned_text"},
    "published_token": {"global", "local", "summary", "time", "cls_proj", "learned_text"},
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


@pytest.mark.parametrize("recipe", ["k400_vitb16_8f", "miniature", "vitaclip"])
def test_shipped_variants_train_what_they_say(recipe: str) -> None:
    variants, _ = load_comparison()
    assert {variant.name for variant in variants} == set(TRAINS)
    backbone = tiny_backbone(depth=4)
    for variant in variants:
        model = VideoModel(backbone, variant.config(load_recipe(recipe)).model, ("run", "sit"))
        counts = model.trained_counts()
        trains = {kind for kind, count in counts.items() if count}
        assert sum(counts.values()) == sum(parameter.numel() for parameter in model.trainable_parameters().values())
        has_temperature = not TRAINS[variant.name] & {"classifier", "video_read"}
        assert trains == TRAINS[variant.name] | ({"logit_scale"} if has_temperature else set()), variant.name


def test_shipped_claims_are_about_shipped_rows() -> None:
    variants, claims = load_comparison()
    assert claims
    assert {name for claim in claims for name in (claim.better, claim.than)} <= {variant.name for variant in variants}


def test_an_override_changes_its_field_alone() -> None:
    base = TrainConfig()
    changed = to_dict(Variant(name="a", overrides={"model.context.global.count": 3, "seed": 5}).config(base))
    expected = to_dict(base)
    expected["model"]["context"]["global"]["count"], expected["seed"] = 3, 5
    assert changed == expected


def test_own_file_adds_to_the_package(tmp_path: Path) -> None:
    mine = "variants:\n  fine_tuning: {overrides: {optim.learning_rate: 1.0e-3}}\n  full:\n  more: {about: 16 of them,"
    mine += " overrides: {model.context.global.count: 16}}\n"
    mine += "  slow: {like: fine_tuning, about: slowly, overrides: {optim.learning_rate: 1.0e-7}}\n"
    mine += "  slower: {like: slow, overrides: {optim.learning_rate: 1.0e-8}}\n"
    (tuned, full, more, slow, slower), claims = load_comparison(own_file(tmp_path, mine))
    (shipped, shipped_full), shipped_claims = load_comparison(names=["fine_tuning", "full"])
    assert tuned.overrides == {**shipped.overrides, "optim.learning_rate": 1e-3}
    assert full == shipped_full
    assert (more.name, more.overrides) == ("more", {"model.context.global.count": 16})
    assert claims == shipped_claims
    assert slow.overrides == {**tuned.overrides, "optim.learning_rate": 1e-7}
    assert slower.overrides == {**tuned.overrides, "optim.learning_rate": 1e-8}
    assert (slow.about, slower.about) == ("slowly", "slowly")


def test_names_choose_and_own_claims_replace(tmp_path: Path) -> None:
    mine = "variants: {mine: }\nclaims: [{says: mine is good, better: mine, than: frozen}]"
    variants, claims = load_comparison(own_file(tmp_path, mine), ["frozen", "mine"])
    assert [variant.name for variant in variants] == ["frozen", "mine"]
    assert claims == (Claim(says="mine is good", better="mine", than="frozen"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a", "mine.yaml holds no settings"),
        ("a: 3", "write `variants:` and below it a name"),
        ("variants: {a: [", "is not YAML"),
        ("variants: {a: 3}", "variant a: write a mapping"),
        ("variants: {a b: }", "'a b': names a folder; write letters, digits, _ and - only"),
        ("variants: {a: {trains: 2}}", "variant a: .*trains"),
        ("variants: {a: }\nclaims: {b: c}", "claims: write a list"),
        ("variants: {a: {like: fine_tunin}}", r"no variant 'fine_tunin' \(did you mean 'fine_tuning'\?\)"),
    ],
)
def test_a_wrong_file_is_one_line(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_comparison(own_file(tmp_path, content))
    assert len(str(caught.value).splitlines()) == 1 or "YAML" in message


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
