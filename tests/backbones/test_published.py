"""Published key names, to ours and back."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from parity_case import load_case
from tower_case import toy_heads
from vitaclip.backbones.families.family import CLIPWeights
from vitaclip.backbones.families.vitaclip import read, to_published


def read_toy(weights: dict[str, Tensor]) -> CLIPWeights:
    """Toy widths are no multiples of 64, so the heads must be told."""
    with toy_heads(4, 4):
        return read(weights, Path())


def test_switched_off_kinds_are_absent_in_whole() -> None:
    weights = load_case("all_prompts", torch.float32).weights
    absent = ("summary", "cls_proj", "local_prompts", "global_prompts", "time_embed")
    without = read_toy({key: value for key, value in weights.items() if not any(kind in key for kind in absent)})
    assert without.trained is not None
    assert without.trained.settings["context"] == {}
    assert without.trained.settings["head"]["per_class"]


def test_every_key_is_accounted_for() -> None:
    weights = load_case("all_prompts", torch.float32).weights
    buffers = ("prompt_learner.token_prefix", "prompt_learner.token_suffix")
    read_toy(weights | dict.fromkeys(buffers, torch.zeros(1)))  # they follow from the class names
    with pytest.raises(ValueError, match=r"0 keys missing .* 1 unknown \['visual.extra'\]"):
        read_toy(weights | {"visual.extra": torch.zeros(1)})
    for name in ("visual.ln_post.bias", "visual.blocks.1.cls_proj.weight"):
        with pytest.raises(ValueError, match="keys missing"):
            read_toy({key: value for key, value in weights.items() if key != name})
    with pytest.raises(ValueError, match="no name in that format for 1 tensors"):
        to_published({"vision.extra": torch.zeros(1)}, {})
