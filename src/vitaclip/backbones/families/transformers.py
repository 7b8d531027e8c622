"""The key names and the config.json of transformers' `CLIPModel`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from vitaclip.backbones.config import CLIPConfig
from vitaclip.backbones.families.architecture import Activation, read_architecture
from vitaclip.backbones.families.family import CONFIG_FILE, CLIPWeights, read_config_file, register_family
from vitaclip.backbones.families.table import (
    Row,
    depth,
    fused_attention,
    layer,
    same,
    to_ours,
    transposed,
    without_bias,
)
from vitaclip.backbones.pixels import CLIP_PIXELS, PixelStatistics, transformers_pixels

IGNORABLE = (r".*embeddings\.position_ids",)
"""Counters that older versions saved."""
SIGNATURE = "vision_model.embeddings.class_embedding"
"""A key that every such file has and no other format."""
ACTIVATIONS: dict[str, Activation] = {"quick_gelu": "quick_gelu", "gelu": "gelu"}
# What a config.json means where it says nothing: the values of OpenAI's ViT-B/32.
DEFAULT_HEADS = {"vision_config": 12, "text_config": 8}
NORM_EPSILON = 1e-5


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of `CLIPModel` -> ours.

    Raises:
        ValueError: if a key is missing or unknown.
    """
    vision, text = (depth(state, rf"{tower}_model\.encoder\.layers") for tower in ("vision", "text"))
    return to_ours(state, key_table(vision, text), "transformers' CLIPModel", IGNORABLE)


def key_table(vision_depth: int, text_depth: int) -> list[Row]:
    """Every tensor of ours beside transformers' names."""
    vision, text = "vision_model", "text_model"
    return [
        same("logit_scale", "logit_scale"),
        same("vision.cls_embed", f"{vision}.embeddings.class_embedding"),
        same("vision.pos_embed", f"{vision}.embeddings.position_embedding.weight"),
        transposed("vision.proj", "visual_projection.weight"),
        without_bias("vision.patch_embed", f"{vision}.embeddings.patch_embedding"),
        *layer("vision.norm_pre", f"{vision}.pre_layrnorm"),  # their spelling
        *layer("vision.norm_post", f"{vision}.post_layernorm"),
        same("text.token_embed.weight", f"{text}.embeddings.token_embedding.weight"),
        same("text.pos_embed", f"{text}.embeddings.position_embedding.weight"),
        transposed("text.proj", "text_projection.weight"),
        *layer("text.norm_final", f"{text}.final_layer_norm"),
        *_blocks("vision.blocks", f"{vision}.encoder.layers", vision_depth),
        *_blocks("text.blocks", f"{text}.encoder.layers", text_depth),
    ]


def _blocks(ours: str, theirs: str, count: int) -> Iterator[Row]:
    for i in range(count):
        yield from fused_attention(f"{ours}.{i}.attention", f"{theirs}.{i}.self_attn")
        for here, there in {"norm1": "layer_norm1", "norm2": "layer_norm2"}.items():
            yield from layer(f"{ours}.{i}.{here}", f"{theirs}.{i}.{there}")
        for name in ("mlp.fc1", "mlp.fc2"):
            yield from layer(f"{ours}.{i}.{name}", f"{theirs}.{i}.{name}")


def read_config(
    config: Mapping[str, Any], state: Mapping[str, Tensor], pixels: PixelStatistics = CLIP_PIXELS
) -> CLIPConfig:
    """What the weights do not tell, from a config.json.

    Args:
        config: its content.
        state: the weights under our names.
        pixels: the pixel statistics, which stand in a file of their own.

    Raises:
        ValueError: if it asks for something that is not CLIP's mathematics.
    """
    heads: dict[str, int] = {}
    activations = set()
    for tower, default in DEFAULT_HEADS.items():
        part = config.get(tower) or {}
        if not isinstance(part, Mapping):
            raise ValueError(f"config.json: {tower} is no mapping of settings")
        heads[tower] = part.get("num_attention_heads", default)
        activations.add(part.get("hidden_act", "quick_gelu"))
        if part.get("layer_norm_eps", NORM_EPSILON) != NORM_EPSILON:
            raise ValueError(
                f"config.json: {tower}.layer_norm_eps = {part['layer_norm_eps']}, CLIP's is {NORM_EPSILON}"
            )
    if len(activations) > 1 or not activations <= set(ACTIVATIONS):
        raise ValueError(
            f"config.json: hidden_act is {sorted(activations)}; both towers must have one of {sorted(ACTIVATIONS)}"
        )
    return read_architecture(
        state,
        ACTIVATIONS[activations.pop()],
        vision_heads=heads["vision_config"],
        text_heads=heads["text_config"],
        pixels=pixels,
    )


@register_family("transformers' CLIPModel", SIGNATURE)
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    """Weights with their config.json."""
    ours = convert(state)
    config = read_config(read_config_file(folder / CONFIG_FILE), ours, transformers_pixels(folder))
    return CLIPWeights("transformers", config, ours, folder)
