"""The architecture of an image-text model, as far as the shapes of its weights tell it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor

from vitaclip.backbones.config import CLIPConfig, PixelConfig, TextConfig, VisionConfig
from vitaclip.backbones.families.table import depth
from vitaclip.backbones.pixels import CLIP_PIXELS

HEAD_WIDTH = 64
"""Of every CLIP that OpenAI published, and of most others. No weight tells it."""
HEAD_WIDTHS = {(1152, 27): 72, (1280, 32): 80, (1408, 40): 88, (1536, 40): 96, (1536, 50): 96, (1664, 48): 104}
"""(width, depth) of SigLIP's So400m, ViT-H, ViT-g, SigLIP 2's g-opt, PE-Core's G and ViT-bigG, which differ."""


def read_architecture(
    state: Mapping[str, Tensor],
    vision: Mapping[str, Any] = MappingProxyType({}),
    text: Mapping[str, Any] = MappingProxyType({}),
    pixels: PixelConfig = CLIP_PIXELS,
) -> CLIPConfig:
    """The config of a model whose weights go by our names.

    Args:
        state: the weights; only their names and shapes are read.
        vision: fields of `VisionConfig` that the weights do not tell. What is left out is CLIP's; `heads` follow from
            the known widths.
        text: the same of `TextConfig`.
        pixels: how an image becomes the input.

    Raises:
        ValueError: if the shapes are those of no model that this code can build.
    """
    shapes = read_shapes(state)
    image, words = shapes["vision"], shapes["text"]
    for tower, told in ((image, vision), (words, text)):
        tower |= told
        tower["heads"] = told.get("heads") or _heads(tower["width"], tower["depth"])
    return CLIPConfig(
        vision=VisionConfig(**image),
        text=TextConfig(**words),
        embed_dim=shapes["embed_dim"],
        pixels=pixels,
        similarity=shapes["similarity"],
    )


def read_shapes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The fields of a `CLIPConfig` that names and shapes tell, those of a tower in a mapping. An image may be a few
    pixels larger than its patches, which no shape tells."""
    image, words = _read_tower(state, "vision"), _read_tower(state, "text")
    class_token = "vision.cls_embed" in state
    patches = len(state["vision.pos_embed"]) - class_token
    side = round(patches**0.5)
    if side * side != patches:
        raise ValueError(f"{patches} patch positions make no square image; this is not a model for square images")
    patch_size = state["vision.patch_embed.weight"].shape[-1]
    pool = {}
    if "vision.pool.mlp.fc1.bias" in state:
        pool["pool_mlp_ratio"] = len(state["vision.pool.mlp.fc1.bias"]) / image["width"]
    image |= {
        "image_size": side * patch_size,
        "patch_size": patch_size,
        "class_token": class_token,
        "norm_pre": "vision.norm_pre.weight" in state,
        "gated": "vision.blocks.0.mlp.gate.weight" in state,
        "inner_norm": "vision.blocks.0.mlp.inner_norm.weight" in state,
        **pool,
    }
    words |= {"vocab_size": len(state["text.token_embed.weight"]), "context_length": len(state["text.pos_embed"])}
    projection = state.get("vision.proj", state.get("text.proj"))
    embed_dim = image["width"] if projection is None else projection.shape[1]
    similarity = "sigmoid" if "logit_bias" in state else "softmax"
    return {"vision": image, "text": words, "embed_dim": embed_dim, "similarity": similarity}


def _read_tower(state: Mapping[str, Tensor], tower: str) -> dict[str, Any]:
    """What both kinds of tower have."""
    width, projected = state[f"{tower}.pos_embed"].shape[1], f"{tower}.proj" in state
    hidden = state.get(f"{tower}.blocks.0.mlp.fc1.bias")
    return {
        "width": width,
        "depth": depth(state, f"{tower}.blocks."),
        "mlp_ratio": 4.0 if hidden is None else len(hidden) / width,
        "projection": ("bias" if f"{tower}.proj_bias" in state else "plain") if projected else "none",
    }


def _heads(width: int, num_blocks: int) -> int:
    head_width = HEAD_WIDTHS.get((width, num_blocks), HEAD_WIDTH)
    if width % head_width:
        raise ValueError(
            f"the number of attention heads is not in the weights, and a width of {width} is no multiple of"
            f" {head_width}; give the file together with its config (config.json or open_clip_config.json)"
        )
    return width // head_width
