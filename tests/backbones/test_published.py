"""Published key names, to ours and back."""

import pytest
import torch

from parity_case import CASES, load_case
from tiny import learned_text
from vitaclip.backbones.families.published import IGNORABLE, from_published, to_published

HEADS = {"vision_heads": 4, "text_heads": 4}
"""Toy widths are no multiples of 64, so the heads must be told."""


@pytest.mark.parametrize("name", CASES)
def test_published_names_survive_the_way_there_and_back_bit_equal(name: str) -> None:
    weights = load_case(name, torch.float32).weights
    published = from_published(weights, **HEADS)
    back = to_published(published.clip_state, published.adapter_state)
    # Without local prompts the published model still holds the projection that feeds the summary.
    assert set(back) == set(weights)
    assert all(torch.equal(back[key], weights[key]) for key in weights)


def test_configs_are_read_off_the_weights() -> None:
    weights = load_case("generic_front_no_local", torch.float32).weights
    published = from_published(weights, **HEADS)
    context = {"global": {"count": 4}, "summary": {}, "time": {}}
    assert published.settings == {"num_frames": 4, "context": context, "head": learned_text(6, per_class=False)}
    assert (published.clip_config.vision.image_size, published.clip_config.vision.depth) == (48, 3)
    assert from_published(load_case("all_prompts", torch.float32).weights, **HEADS).settings["head"]["per_class"]


def test_switched_off_kinds_are_absent_in_whole() -> None:
    weights = load_case("all_prompts", torch.float32).weights
    absent = ("summary", "cls_proj", "local_prompts", "global_prompts", "time_embed")
    kept = {key: value for key, value in weights.items() if not any(kind in key for kind in absent)}
    assert from_published(kept, **HEADS).settings["context"] == {}
    without_summary = {key: value for key, value in weights.items() if "summary" not in key}
    assert "summary" not in from_published(without_summary, **HEADS).settings["context"]


def test_fault_3_buffers_of_the_class_list_are_ignored() -> None:
    weights = load_case("all_prompts", torch.float32).weights
    from_published(weights | {name.replace("\\", ""): torch.zeros(1) for name in IGNORABLE}, **HEADS)


def test_fault_17_every_key_is_accounted_for() -> None:
    weights = load_case("all_prompts", torch.float32).weights
    with pytest.raises(ValueError, match=r"0 keys missing .* 1 unknown \['visual.extra'\]"):
        from_published(weights | {"visual.extra": torch.zeros(1)})
    for name in ("visual.ln_post.bias", "visual.blocks.1.cls_proj.weight"):
        with pytest.raises(ValueError, match="keys missing"):
            from_published({key: value for key, value in weights.items() if key != name})
    with pytest.raises(ValueError, match="no name in that format for 1 tensors"):
        to_published({"vision.extra": torch.zeros(1)}, {})
