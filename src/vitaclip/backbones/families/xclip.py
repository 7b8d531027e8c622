"""X-CLIP (Ni et al., ECCV 2022): checkpoints of the published code, and the folders of transformers' `XCLIPModel`.

Both hold a whole model: the towers, of which the image tower was trained, and the parts. The mathematics is the same.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vitaclip.backbones.config import Activation
from vitaclip.backbones.families import openai, transformers, transformers_common
from vitaclip.backbones.families.family import (
    CONFIG_FILE,
    HEAD_WIDTH,
    CLIPWeights,
    Trained,
    read_architecture,
    read_config_file,
    register_family,
)
from vitaclip.backbones.families.table import (
    depth,
    fused,
    leading_axis,
    renamed,
    same,
    shared,
    split_parts,
    to_ours,
    without,
)
from vitaclip.backbones.pixels import IMAGENET_PIXELS, transformers_pixels

KEY = "mit.positional_embedding"
TRANSFORMERS_KEY = "mit.position_embedding"
IGNORABLE = openai.IGNORABLE + transformers_common.IGNORABLE
_GENERATOR = [
    shared(("logit_scale", "head.logit_scale"), "logit_scale"),
    *same(
        {
            "head.alpha": "prompts_generator.alpha",
            "head.layers.#.query.weight": "prompts_generator.decoder.#.cross_attn.q_proj.weight",
            "head.layers.#.key.weight": "prompts_generator.decoder.#.cross_attn.k_proj.weight",
            "head.layers.#.value.weight": "prompts_generator.decoder.#.cross_attn.v_proj.weight",
            "head.layers.#.out.*": "prompts_generator.decoder.#.cross_attn.proj.*",
            "head.layers.#.norm1.*": "prompts_generator.decoder.#.norm1.*",
            "head.layers.#.norm2.*": "prompts_generator.decoder.#.norm3.*",
            "head.layers.#.mlp.fc1.*": "prompts_generator.decoder.#.mlp.0.*",
            "head.layers.#.mlp.fc2.*": "prompts_generator.decoder.#.mlp.3.*",
        }
    ),
]
"""The layers that read texts in the light of the video, which both formats name alike, and the temperature."""


TABLE = [
    *without(openai.TABLE, "logit_scale"),
    *_GENERATOR,
    leading_axis("pool.positions", KEY),
    *openai.blocks("pool.blocks", "mit.resblocks"),
    *same(
        {
            "pool.patch_norm.*": "prompts_visual_ln.*",
            "pool.patch_proj": "prompts_visual_proj",
            "head.norm.*": "prompts_generator.norm.*",
            "context.blocks.#.cls_proj.*": "visual.transformer.resblocks.#.message_fc.*",
            "context.blocks.#.summary.norm.*": "visual.transformer.resblocks.#.message_ln.*",
            "context.blocks.#.summary.attention.qkv.*": "visual.transformer.resblocks.#.message_attn.in_proj_*",
            "context.blocks.#.summary.attention.out.*": "visual.transformer.resblocks.#.message_attn.out_proj.*",
        }
    ),
]
TRANSFORMERS_TABLE = [
    *renamed(without(transformers.TABLE, "logit_scale"), "vision_model.pre_layrnorm", "vision_model.pre_layernorm"),
    *_GENERATOR,
    leading_axis("pool.positions", TRANSFORMERS_KEY),
    *transformers_common.blocks("pool.blocks", "mit"),
    fused("context.blocks.#.summary.attention.qkv.*", "vision_model.encoder.layers.#.message_attn.{}_proj.*"),
    *same(
        {
            "pool.patch_norm.*": "prompts_visual_layernorm.*",
            "pool.patch_proj": "prompts_visual_projection",
            "head.norm.*": "prompts_generator.layernorm.*",
            "context.blocks.#.cls_proj.*": "vision_model.encoder.layers.#.message_fc.*",
            "context.blocks.#.summary.norm.*": "vision_model.encoder.layers.#.message_ln.*",
            "context.blocks.#.summary.attention.out.*": "vision_model.encoder.layers.#.message_attn.out_proj.*",
        }
    ),
]


def _settings(parts: Mapping[str, Tensor], pool_heads: int = 0, head_heads: int = 0) -> dict[str, Any]:
    """Which parts there are, read off the shapes of their values: fields of a `ModelConfig`."""
    return {
        "num_frames": len(parts["pool.positions"]),
        "context": {"summary": {}},
        "centre": False,
        "pool": {"name": "integrate", "layers": depth(parts, "pool.blocks."), "heads": pool_heads},
        "head": {"name": "video_read", "layers": depth(parts, "head.layers."), "heads": head_heads},
        "templates": ("{}",),
        "train": "image",
        "sampling": {"kind": "segments"},
    }


@register_family("the published X-CLIP code", KEY, first=True)
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None = None) -> CLIPWeights:
    """A checkpoint of the published code. Heads of 64 and ImageNet's pixels are its rule; the file tells neither."""
    clip, parts = split_parts(to_ours(state, TABLE, IGNORABLE))
    config = read_architecture(clip, pixels=IMAGENET_PIXELS)
    return CLIPWeights(config, clip, Trained(_settings(parts), parts))


@register_family("transformers' XCLIPModel", TRANSFORMERS_KEY, first=True)
def read_folder(state: dict[str, Tensor], folder: Path, activation: Activation | None = None) -> CLIPWeights:
    """A folder of transformers with its config.json.

    Of the large models, transformers' conversion left the heads of the parts at 8, where the trained ones have 12:
    a warning says so, since no number in the file would.
    """
    clip, parts = split_parts(to_ours(state, TRANSFORMERS_TABLE, IGNORABLE))
    file = read_config_file(folder / CONFIG_FILE)
    config = transformers.read_config(file, clip, transformers_pixels(folder))
    pool_heads = (file.get("vision_config") or {}).get("mit_num_attention_heads", 8)
    head_heads = file.get("prompt_num_attention_heads", 8)
    published = config.embed_dim // HEAD_WIDTH
    if config.embed_dim % HEAD_WIDTH == 0 and {pool_heads, head_heads} != {published}:
        warnings.warn(
            f"{folder}: its config.json has {pool_heads} heads in mit and {head_heads} in the prompts, where the X-CLIP"
            f" that was trained has {published} (D / {HEAD_WIDTH}); it is read as transformers reads it. For numbers of"
            f" the published model, set mit_num_attention_heads and prompt_num_attention_heads to {published} there",
            stacklevel=2,
        )
    return CLIPWeights(config, clip, Trained(_settings(parts, pool_heads, head_heads), parts))
