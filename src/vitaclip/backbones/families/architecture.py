"""A CLIP's architecture, read off its weights."""

from collections.abc import Mapping

from torch import Tensor

from vitaclip.backbones.config import Activation, CLIPConfig, TextConfig, VisionConfig
from vitaclip.backbones.families.table import depth
from vitaclip.backbones.pixels import CLIP_PIXELS, PixelStatistics

HEAD_WIDTH = 64
"""Of every CLIP that OpenAI published, and of most others. No weight tells it."""
VISION_HEAD_WIDTHS = {(1280, 32): 80, (1408, 40): 88, (1664, 48): 104}
"""(width, depth) of open_clip's ViT-H-14, ViT-g-14 and ViT-bigG-14, which differ."""


def read_architecture(
    state: Mapping[str, Tensor],
    activation: Activation,
    *,
    vision_heads: int = 0,
    text_heads: int = 0,
    pixels: PixelStatistics = CLIP_PIXELS,
) -> CLIPConfig:
    """The config of a CLIP whose weights go by our names.

    Args:
        state: the weights; only their shapes are read.
        activation: which the weights do not tell.
        vision_heads, text_heads: attention heads, which the weights do not tell either. 0: by the known head widths.
        pixels: mean and standard deviation of the pixels it was trained on.

    Raises:
        ValueError: if the shapes are those of no CLIP that this code can build.
    """
    width, _, patch_size, _ = state["vision.patch_embed.weight"].shape
    vision_depth = depth(state, "vision.blocks.")
    patches = len(state["vision.pos_embed"]) - 1
    side = round(patches**0.5)
    if side * side != patches:
        raise ValueError(f"{patches} patch positions make no square image; this is not a CLIP for square images")
    vocab_size, text_width = state["text.token_embed.weight"].shape
    text_depth = depth(state, "text.blocks.")
    if text_depth and len(state["text.blocks.0.mlp.fc1.bias"]) != 4 * text_width:
        raise ValueError("a text tower whose MLP is not four times as wide as its tokens is not supported")
    return CLIPConfig(
        vision=VisionConfig(
            image_size=side * patch_size,
            patch_size=patch_size,
            width=width,
            depth=vision_depth,
            heads=vision_heads or _heads(width, VISION_HEAD_WIDTHS.get((width, vision_depth), HEAD_WIDTH)),
            mlp_ratio=len(state["vision.blocks.0.mlp.fc1.bias"]) / width,
        ),
        text=TextConfig(
            vocab_size=vocab_size,
            context_length=len(state["text.pos_embed"]),
            width=text_width,
            depth=text_depth,
            heads=text_heads or _heads(text_width, HEAD_WIDTH),
        ),
        embed_dim=state["vision.proj"].shape[1],
        activation=activation,
        pixel_mean=pixels.mean,
        pixel_std=pixels.std,
    )


def _heads(width: int, head_width: int) -> int:
    if width % head_width:
        raise ValueError(
            f"the number of attention heads is not in the weights, and a width of {width} is no multiple of"
            f" {head_width}; give the file together with its config (config.json or open_clip_config.json)"
        )
    return width // head_width
