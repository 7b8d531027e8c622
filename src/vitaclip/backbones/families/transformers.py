"""The key names and the config.json of transformers' `CLIPModel`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vitaclip.backbones.config import Activation, CLIPConfig, PixelConfig
from vitaclip.backbones.families.architecture import read_architecture
from vitaclip.backbones.families.family import CONFIG_FILE, CLIPWeights, read_config_file, register_family
from vitaclip.backbones.families.table import Row, fused, same, to_ours, transposed, without_bias
from vitaclip.backbones.pixels import transformers_pixels

IGNORABLE = (r".*embeddings\.position_ids",)
"""Counters that older versions saved."""
# What a config.json means where it says nothing: the values of OpenAI's ViT-B/32.
DEFAULT_HEADS = {"vision_config": 12, "text_config": 8}
ACTIVATIONS = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"}


def blocks(ours: str, theirs: str) -> list[Row]:
    """Transformer blocks, whose q, k and v are apart there."""
    names = {"attention.out": "self_attn.out_proj", "norm1": "layer_norm1", "norm2": "layer_norm2"}
    names |= {"mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
    return [
        fused(f"{ours}.#.attention.qkv.*", f"{theirs}.encoder.layers.#.self_attn.{{}}_proj.*"),
        *same({f"{ours}.#.{here}.*": f"{theirs}.encoder.layers.#.{there}.*" for here, there in names.items()}),
    ]


TABLE = [
    *same(
        {
            "logit_scale": "logit_scale",
            "vision.cls_embed": "vision_model.embeddings.class_embedding",
            "vision.pos_embed": "vision_model.embeddings.position_embedding.weight",
            "vision.norm_pre.*": "vision_model.pre_layrnorm.*",  # their spelling
            "vision.norm_post.*": "vision_model.post_layernorm.*",
            "text.token_embed.weight": "text_model.embeddings.token_embedding.weight",
            "text.pos_embed": "text_model.embeddings.position_embedding.weight",
            "text.norm_final.*": "text_model.final_layer_norm.*",
        }
    ),
    without_bias("vision.patch_embed", "vision_model.embeddings.patch_embedding"),
    transposed("vision.proj", "visual_projection.weight"),
    transposed("text.proj", "text_projection.weight"),
    *blocks("vision.blocks", "vision_model"),
    *blocks("text.blocks", "text_model"),
]


def read_config(config: Mapping[str, Any], state: Mapping[str, Tensor], pixels: PixelConfig) -> CLIPConfig:
    """What the weights, which go by our names, do not tell, from the content of a config.json. What is not
    CLIP's mathematics is refused."""
    told = {}
    for tower, default in DEFAULT_HEADS.items():
        part = config.get(tower) or {}
        if not isinstance(part, Mapping):
            raise ValueError(f"config.json: {tower} is no mapping of settings")
        told[tower] = {
            "heads": part.get("num_attention_heads", default),
            "activation": _activation(tower, part.get("hidden_act", "quick_gelu")),
            "norm_epsilon": part.get("layer_norm_eps", 1e-5),
        }
    return read_architecture(state, told["vision_config"], told["text_config"], pixels)


def _activation(tower: str, name: Any) -> str:
    """What transformers' name of an activation is called here."""
    if name not in ACTIVATIONS:
        raise ValueError(f"config.json: {tower}.hidden_act is {name!r}; known are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


@register_family("transformers' CLIPModel", "vision_model.embeddings.class_embedding")
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    """Weights with their config.json."""
    ours = to_ours(state, TABLE, "transformers' CLIPModel", IGNORABLE)
    config = read_config(read_config_file(folder / CONFIG_FILE), ours, transformers_pixels(folder))
    return CLIPWeights("transformers", config, ours, folder)
