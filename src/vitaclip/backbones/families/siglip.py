"""SigLIP and SigLIP 2 of a fixed resolution (Zhai et al., 2023; Tschannen et al., 2025), as transformers has them."""

from pathlib import Path
from typing import Literal

from torch import Tensor

from vitaclip.backbones.config import Activation, PixelConfig, TextLayoutConfig
from vitaclip.backbones.families import transformers
from vitaclip.backbones.families.family import (
    CONFIG_FILE,
    CLIPWeights,
    read_architecture,
    read_config_file,
    register_family,
)
from vitaclip.backbones.families.table import Row, reshaped, same, single_query, to_ours, transposed, without
from vitaclip.backbones.families.transformers_common import IGNORABLE, read_tower
from vitaclip.backbones.pixels import transformers_pixels

KEY = "vision_model.head.probe"
_POOL = "vision_model.head"
TABLE: list[Row] = [
    *without(transformers.TABLE, "logit_scale", "vision.cls_embed", "vision.norm_pre.*", "vision.proj", "text.proj"),
    *(reshaped(name, name, ()) for name in ("logit_scale", "logit_bias")),
    reshaped("vision.pool.probe", KEY, (-1,)),
    single_query("vision.pool.attention", f"{_POOL}.attention.in_proj_"),
    *same(
        {
            "vision.pool.attention.out.*": f"{_POOL}.attention.out_proj.*",
            "vision.pool.norm.*": f"{_POOL}.layernorm.*",
            **{f"vision.pool.mlp.{name}.*": f"{_POOL}.mlp.{name}.*" for name in ("fc1", "fc2")},
            "text.proj_bias": "text_model.head.bias",
        }
    ),
    transposed("text.proj", "text_model.head.weight"),
]
DEFAULTS = {"num_attention_heads": 12, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6}
PIXELS = PixelConfig(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), fit="squash")
GEMMA_VOCABULARY = 256_000
"""Entries of SigLIP 2's tokenizer, which keeps punctuation and pads with 0; SigLIP pads with its end token, 1."""


@register_family("transformers' SiglipModel", KEY)
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    """Weights with their config.json, most of which say little: the rest are defaults."""
    file = read_config_file(folder / CONFIG_FILE)
    if file.get("model_type") != "siglip":
        raise ValueError(
            f"config.json: model_type is {file.get('model_type')!r}: images of variable size (NaFlex) are not built;"
            " take a SigLIP 2 of a fixed resolution, such as google/siglip2-base-patch16-224"
        )
    ours = to_ours(state, TABLE, IGNORABLE)
    vision = read_tower(file, "vision_config", DEFAULTS) | {"pool": "attention"}
    text, told = read_tower(file, "text_config", DEFAULTS), file.get("text_config") or {}
    pad = 0 if len(ours["text.token_embed.weight"]) == GEMMA_VOCABULARY else told.get("pad_token_id", 1)
    clean: Literal["canonicalize", "lower"] = "canonicalize" if pad else "lower"
    layout = TextLayoutConfig(start=(), end=(1,), pad=pad, feature="last", clean=clean)
    text |= {"order": "all", "layout": layout}
    return CLIPWeights(read_architecture(ours, vision, text, transformers_pixels(folder, PIXELS)), ours)
