"""How many numbers train, by kind of prompt."""

from dataclasses import replace
from typing import Any

import pytest

from tiny import tiny_model, tiny_tokenizer
from vitaclip.backbones import CLIP
from vitaclip.backbones.config import CLIPConfig, TextConfig, VisionConfig
from vitaclip.backbones.loading import Backbone
from vitaclip.backbones.model import without_values
from vitaclip.model import VideoModel
from vitaclip.recipes import load_recipe

VIT_B16 = CLIPConfig(
    vision=VisionConfig(image_size=224, patch_size=16, width=768, depth=12, heads=12),
    text=TextConfig(vocab_size=49_408, context_length=77, width=512, depth=12, heads=8),
    embed_dim=512,
)
CLASSES = tuple(f"class {number}" for number in range(400))


@pytest.mark.parametrize(("train_cls_proj", "millions"), [(False, 30.16), (True, 37.25)])
def test_vit_b16_trains_as_many_as_published(train_cls_proj: bool, millions: float) -> None:
    config = replace(load_recipe("k400_vitb16_8f").model, train_cls_proj=train_cls_proj)
    with without_values():
        model = VideoModel(Backbone(CLIP(VIT_B16), tiny_tokenizer(), "ViT-B/16", ""), config, CLASSES)
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
    ("settings", "kinds"),
    [
        ({"context": {}}, {"learned_text"}),
        ({"context": {"time": {}}, "head": "templates"}, {"time"}),
        ({"context": {"global": {}}, "head": "templates"}, {"global"}),
        ({"context": {"local": {}}, "head": "templates"}, {"local", "cls_proj"}),
        ({"context": {"summary": {}}, "head": "templates"}, {"summary", "cls_proj"}),
        ({"context": {}, "head": "templates", "train": "image"}, {"backbone"}),
    ],
)
def test_only_what_is_there_is_counted(settings: dict[str, Any], kinds: set[str]) -> None:
    model = tiny_model(**settings)
    counts = model.trained_counts()
    assert counts.keys() == kinds | {"logit_scale"}
    assert sum(counts.values()) == sum(parameter.numel() for parameter in model.trainable_parameters().values())
