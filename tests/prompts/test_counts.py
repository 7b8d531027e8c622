"""How many numbers train, by kind of prompt."""

from dataclasses import replace

import pytest
import torch

from tiny import tiny_model, tiny_tokenizer
from vitaclip.clip import CLIP
from vitaclip.config import CLIPConfig, ModelConfig, TextConfig, TextPromptConfig, VideoPromptConfig, VisionConfig
from vitaclip.model import VitaCLIP
from vitaclip.recipes import load_recipe
from vitaclip.weights.backbone import Backbone

VIT_B16 = CLIPConfig(
    vision=VisionConfig(image_size=224, patch_size=16, width=768, depth=12, heads=12),
    text=TextConfig(vocab_size=49_408, context_length=77, width=512, depth=12, heads=8),
    embed_dim=512,
)
CLASSES = tuple(f"class {number}" for number in range(400))


def without_memory(config: ModelConfig) -> VitaCLIP:
    """ViT-B/16 with 400 classes, of shapes alone."""
    with torch.device("meta"):
        backbone = Backbone(CLIP(VIT_B16), tiny_tokenizer(), "ViT-B/16", "")
        return VitaCLIP(backbone, config, CLASSES)


@pytest.mark.parametrize(("train_cls_proj", "millions"), [(False, 30.16), (True, 37.25)])
def test_vit_b16_with_400_classes_trains_as_many_as_published(train_cls_proj: bool, millions: float) -> None:
    recipe = load_recipe("k400_vitb16_8f").model
    model = without_memory(replace(recipe, video=replace(recipe.video, train_cls_proj=train_cls_proj)))
    counts = model.prompts.trained_counts()
    width, blocks = 768, 12
    assert counts == {
        "global": blocks * 8 * width,
        "local": blocks * 8 * width,
        "summary": blocks * (4 * width * (width + 1) + 2 * width),
        "time": 8 * width,
        "cls_proj": blocks * width * (width + 1) if train_cls_proj else 0,
        "text": 400 * 8 * 512,
        "linear": 0,
        "logit_scale": 1,
    }
    total = sum(counts.values())
    assert round(total / 1e6, 2) == millions
    assert total == sum(parameter.numel() for parameter in model.trainable_parameters().values())


@pytest.mark.parametrize(
    ("video", "text", "kinds"),
    [
        (VideoPromptConfig(num_global=0, local=False, summary=False, time=False), None, {"text"}),
        (VideoPromptConfig(num_global=0, local=False, summary=False), 0, {"time"}),
        (VideoPromptConfig(local=False, summary=False, time=False), 0, {"global"}),
        (VideoPromptConfig(num_global=0, summary=False, time=False), 0, {"local", "cls_proj"}),
        (VideoPromptConfig(num_global=0, local=False, time=False), 0, {"summary", "cls_proj"}),
    ],
)
def test_kinds_that_are_switched_off_count_nothing(video: VideoPromptConfig, text: int | None, kinds: set[str]) -> None:
    model = tiny_model(video=video, text=None if text is None else TextPromptConfig(num_context=text))
    counts = model.prompts.trained_counts()
    assert {kind for kind, count in counts.items() if count} == kinds | {"logit_scale"}
    assert sum(counts.values()) == sum(parameter.numel() for parameter in model.trainable_parameters().values())
