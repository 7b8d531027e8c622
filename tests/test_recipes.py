"""The recipes that come with the package: each loads, and says what the paper and the published script say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tiny import tiny_tokenizer
from vitaclip.backbones.config import CLIPConfig, TextConfig, VisionConfig
from vitaclip.backbones.loading import Backbone
from vitaclip.backbones.model import CLIP, without_values
from vitaclip.data.randaugment import parse_randaugment
from vitaclip.model import VideoModel
from vitaclip.recipes import RECIPES, load_recipe
from vitaclip.settings import to_dict

# Kinetics-400, 8 frames: paper, section 4.1, and the published training script.
PUBLISHED: dict[str, Any] = {
    "model.backbone": "openai/clip-vit-base-patch16",
    "model.num_frames": 8,
    "model.train": "none",
    "model.context": {"global": {"count": 8}, "local": {}, "summary": {}, "time": {}},
    "model.pool": {"name": "mean"},
    "model.head": {
        **{"name": "learned_text", "num_context": 8, "per_class": True, "class_token_position": "end"},
        **{"init_words": "", "depth": 1},
    },
    "model.sampling.kind": "dense",
    "model.sampling.stride": 16,
    "data.augment.crop_scale": [0.08, 1.0],
    "data.augment.crop_ratio": [3 / 4, 4 / 3],
    "data.augment.flip": 0.0,
    "data.augment.randaugment": "rand-m7-n4-mstd0.5-inc1",
    "optim.steps": 30_000,
    "optim.decayed": "all",
    "optim.batch_size": 256,
    "optim.learning_rate": 4e-4,
    "optim.weight_decay": 0.05,
    "views.temporal": 3,
    "views.spatial": 1,
}
# What each of the other recipes has otherwise.
DIFFERENCES: dict[str, dict[str, Any]] = {
    "k400_vitb16_8f": {},
    "k400_vitb16_16f": {"model.num_frames": 16},
    "ssv2_vitb16_8f": {"model.sampling.kind": "segments"},
    "zero_shot_vitb16_8f": {"model.head": {**PUBLISHED["model.head"], "per_class": False}},
    "few_shot_vitb16_8f": {
        "model.sampling.kind": "segments",
        "data.shots": 16,
        "optim.steps": 0,
        "optim.epochs": 50,
        "optim.batch_size": 64,
        "views.temporal": 1,
    },
}


def setting(config: dict[str, Any], path: str) -> Any:
    """The value at a dotted path."""
    for key in path.split("."):
        config = config[key]
    return config


VIT_B16 = CLIPConfig(
    vision=VisionConfig(image_size=224, patch_size=16, width=768, depth=12, heads=12),
    text=TextConfig(vocab_size=49408, context_length=77, width=512, depth=12, heads=8),
    embed_dim=512,
)
CLASSES = tuple(f"class {number}" for number in range(400))


@pytest.mark.parametrize(("train_cls_proj", "millions"), [(False, 30.16), (True, 37.25)])
def test_vit_b16_trains_as_many_as_published(train_cls_proj: bool, millions: float) -> None:
    config = replace(load_recipe("k400_vitb16_8f").model, train_cls_proj=train_cls_proj)
    with without_values():
        model = VideoModel(Backbone(CLIP(VIT_B16), tiny_tokenizer(), "", ""), config, CLASSES)
    counts = model.trained_counts()
    width, blocks = 768, 12
    assert counts == {
        "global": blocks * 8 * width,
        "local": blocks * 8 * width,
        "summary": blocks * (4 * width * (width + 1) + 2 * width),
        "time": 8 * width,
        "learned_text": 400 * 8 * 512,
        "logit_scale": 1,
        **({"cls_proj": blocks * width * (width + 1)} if train_cls_proj else {}),
    }
    total = sum(counts.values())
    assert round(total / 1e6, 2) == millions
    assert total == sum(parameter.numel() for parameter in model.trainable_parameters().values())


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("evl_k400_vitb16_8f", 33.183 - 0.003),  # without the biases of the keys
        ("xclip_k400_vitb16_8f", 131.501 + 0.001),  # with a bias of the patch embedding, which CLIP's lacks
        ("vifi_zero_shot", 149.621 - 25.297 + 0.001),  # CLIP without its token embedding
    ],
)
def test_published_numbers_of_parameters_train(name: str, millions: float) -> None:
    with without_values():
        backbone = Backbone(CLIP(VIT_B16), tiny_tokenizer(), "", "")
    model = VideoModel(backbone, load_recipe(name).model, CLASSES)
    assert sum(model.trained_counts().values()) / 1e6 == pytest.approx(millions, abs=1e-3)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_recipe_says_what_was_published(name: str) -> None:
    config = to_dict(load_recipe(name))
    expected = PUBLISHED | DIFFERENCES[name]
    assert {path: setting(config, path) for path in expected} == expected
    assert config["out"] == f"runs/{name}"


@pytest.mark.parametrize("name", RECIPES.names())
def test_recipes_are_valid(name: str) -> None:
    recipe = load_recipe(name)
    if recipe.data.augment.randaugment:
        parse_randaugment(recipe.data.augment.randaugment)
    first_line = RECIPES.find(name).read_text(encoding="utf-8").splitlines()[0]
    assert first_line.startswith("# ")
    assert first_line.endswith("."), "the first line is what `vitaclip list recipes` shows"


def test_file_comes_before_recipe_of_its_name(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("optim: {steps: 7}")
    assert load_recipe(str(mine)).optim.steps == 7
    with pytest.raises(ValueError, match=r"'kinetics400' is neither a file nor a recipe; .* k400_vitb16_8f"):
        load_recipe("kinetics400")
