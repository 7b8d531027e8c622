"""What the image-text models of transformers share: the names in their blocks, and what a config.json means."""

from collections.abc import Mapping
from typing import Any

from vitaclip.backbones.families.family import told_sizes
from vitaclip.backbones.families.table import Row, fused, same

IGNORABLE = (r".*embeddings\.position_ids",)
"""Counters that older versions saved among the weights."""
ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"}


def blocks(ours: str, theirs: str) -> list[Row]:
    """Transformer blocks, whose q, k and v are apart there."""
    names = {"attention.out": "self_attn.out_proj", "norm1": "layer_norm1", "norm2": "layer_norm2"}
    names |= {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    return [
        fused(f"{ours}.#.attention.qkv.*", f"{theirs}.encoder.layers.#.self_attn.{{}}_proj.*"),
        *same({f"{ours}.#.{here}.*": f"{theirs}.encoder.layers.#.{there}.*" for here, there in names.items()}),
    ]


def read_tower(config: Mapping[str, Any], name: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a tower's config from its part of a config.json, which says only what differs from the defaults."""
    part = config.get(name) or {}
    if not isinstance(part, Mapping):
        raise ValueError(f"config.json: {name} is no mapping of settings")
    told = {**defaults, **part}
    if told["hidden_act"] not in ACTIVATIONS:
        raise ValueError(
            f"config.json: {name}.hidden_act is {told['hidden_act']!r}; known are {', '.join(ACTIVATIONS)}"
        )
    fields = {
        "heads": told["num_attention_heads"],
        "activation": ACTIVATIONS[told["hidden_act"]],
        "norm_epsilon": told["layer_norm_eps"],
        **told_sizes(part),
    }
    if name == "vision_config":
        fields |= {"resample": "bicubic"} | ({"image_size": part["image_size"]} if "image_size" in part else {})
    return fields
