"""Published key names, to ours and back."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from parity_case import CASES, load_case
from tiny import learned_text
from tower_case import toy_heads
from vitaclip.backbones.families.family import CLIPWeights
from vitaclip.backbones.families.vitaclip import read, to_published


def read_toy(weights: dict[str, Tensor]) -> CLIPWeights:
    """Toy widths are no multiples of 64, so the heads must be told."""
    with toy_heads(4, 4):
        return read(weights, Path())


@pytest.mark.parametrize("name", CASES)
def test_published_names_survive_both_ways_bit_equal(name: str) -> None:
    weights = load_case(name, torch.float32).weights
    published = read_toy(weights)
    assert published.trained is not None
    back = to_published(published.state, published.trained.adapter_state)
    # Without local prompts the published model still holds the projection that feeds the summary.
    assert set(back) == set(weights)
    assert all(torch.equal(back[key], weights[key]) for key in weights)


def test_configs_are_read_off_the_weights() -> None:
    published = read_toy(load_case("generic_front_no_local", torch.float32).weights)
    context = {"global": {"count": 4}, "summary": {}, "time": {}}
    assert published.trained is not None
    head = learned_text(6, per_class=False)
    assert published.trained.settings == {"num_frames": 4, "context": context, "centre": False, "head": head}
    assert (published.config.vision.image_size, published.config.vision.depth) == (48, 3)


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
