"""transformers' `CLIPModel` and `MetaClip2Model`: their key names and what their config.json tells."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vitaclip.backbones.config import Activation, CLIPConfig, PixelConfig, TextLayoutConfig
from vitaclip.backbones.families.family import (
    CONFIG_FILE,
    CLIPWeights,
    read_architecture,
    read_config_file,
    register_family,
)
from vitaclip.backbones.families.table import layer, same, to_ours, transposed
from vitaclip.backbones.families.transformers_common import IGNORABLE, blocks, read_tower
from vitaclip.backbones.pixels import transformers_pixels

DEFAULTS = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
"""What a config.json means where it says nothing, beside heads: the values of OpenAI's ViT-B/32."""
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
    layer("vision.patch_embed", "vision_model.embeddings.patch_embedding"),
    transposed("vision.proj", "visual_projection.weight"),
    transposed("text.proj", "text_projection.weight"),
    *blocks("vision.blocks", "vision_model"),
    *blocks("text.blocks", "text_model"),
]


@register_family("transformers' CLIPModel and MetaClip2Model", "vision_model.embeddings.class_embedding")
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    """Weights with their config.json."""
    ours = to_ours(state, TABLE, IGNORABLE)
    return CLIPWeights(read_config(read_config_file(folder / CONFIG_FILE), ours, transformers_pixels(folder)), ours)


def read_config(config: Mapping[str, Any], state: Mapping[str, Tensor], pixels: PixelConfig) -> CLIPConfig:
    """What the weights, which go by our names, do not tell, from the content of a config.json."""
    vision = read_tower(config, "vision_config", {**DEFAULTS, "num_attention_heads": 12})
    text = read_tower(config, "text_config", {**DEFAULTS, "num_attention_heads": 8})
    if config.get("model_type") == "metaclip_2":
        end = config["text_config"]["eos_token_id"]  # 2 of XLM-V, or 1 of mT5, which has no start token
        start, pad = ((0,), 1) if end == 2 else ((), 0)
        text["layout"] = TextLayoutConfig(start=start, end=(end,), pad=pad, clean="none")
    return read_architecture(state, vision, text, pixels)
