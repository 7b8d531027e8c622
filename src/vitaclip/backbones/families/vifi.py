"""ViFi-CLIP (Rasheed et al., CVPR 2023): checkpoints of the published code. They lack the token embedding alone."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vitaclip.backbones.families import openai
from vitaclip.backbones.families.family import CLIPWeights, Trained, read_architecture, register_family
from vitaclip.backbones.families.table import Row, renamed, same, shared, split_parts, to_ours, without
from vitaclip.backbones.pixels import IMAGENET_PIXELS

KEY = "image_encoder.class_embedding"
IGNORABLE = (r"prompt_learner\.(complete_text_embeddings|token_prefix|token_suffix)",)
"""Buffers that follow from the token embedding and the class names."""
EMBEDDING = "text.token_embed.weight"
_MOST_BLOCKS = 64


def _prompts_of_blocks() -> list[Row]:
    """Prompts that replace those of the block before, in as many blocks as there are such; each row stands alone."""
    rows: list[Row] = []
    for i in range(1, _MOST_BLOCKS):
        image, text = (f"{tower}_encoder.transformer.resblocks.{i}.VPT_shallow" for tower in ("image", "text"))
        rows += same({f"context.blocks.{i}.deep_tokens.prompts": image}, image)
        rows += same({f"head.deep.{i - 1}": text}, text)
    return rows


_TOWERS = without(openai.TABLE, "logit_scale", EMBEDDING)
for _theirs in ("transformer.", "positional_embedding", "ln_final", "text_projection"):
    _TOWERS = renamed(_TOWERS, _theirs, f"text_encoder.{_theirs}")
TABLE = [
    *renamed(_TOWERS, "visual.", "image_encoder."),
    shared(("logit_scale", "head.logit_scale"), "logit_scale"),
    *same({"head.context": "prompt_learner.ctx"}, "text"),
    *same({"context.input.deep_tokens.prompts": "image_encoder.VPT"}, "image"),
    *_prompts_of_blocks(),
]


def _settings(parts: Mapping[str, Tensor]) -> dict[str, Any]:
    """Which parts there are, read off the names and shapes of their values: fields of a `ModelConfig`."""
    prompts, texts = parts.get("context.input.deep_tokens.prompts"), parts.get("head.context")
    context: dict[str, Any] = {}
    if prompts is not None:
        depth = sum(name.endswith("deep_tokens.prompts") for name in parts)
        context["deep_tokens"] = {"count": len(prompts), "depth": depth}
    head: Any = "templates"
    if texts is not None:
        depth = 1 + sum(name.startswith("head.deep.") for name in parts)
        head = {"name": "learned_text", "num_context": len(texts), "depth": depth}
    return {
        "context": context,
        "head": head,
        "templates": ("a photo of a {}.",),
        "train": "none" if context or texts is not None else "both",
        "sampling": {"kind": "segments"},
    }


@register_family("the published ViFi-CLIP code", KEY, first=True, lacks_backbone=True)
def complete(state: dict[str, Tensor], backbone: CLIPWeights) -> CLIPWeights:
    """The towers of the file with the token embedding of the CLIP that they started from, which never trains."""
    clip, parts = split_parts(to_ours(state, TABLE, IGNORABLE))
    width = len(clip["text.proj"])
    clip[EMBEDDING] = backbone.state[EMBEDDING].to(clip["text.proj"].device)
    if clip[EMBEDDING].shape[1] != width:
        raise ValueError(
            f"this ViFi-CLIP has texts of {width} channels, the backbone given has {clip[EMBEDDING].shape[1]}; give the"
            " backbone it started from"
        )
    config = read_architecture(clip, pixels=IMAGENET_PIXELS)
    trained = Trained(_settings(parts), parts)
    return CLIPWeights(config, clip, trained, folder=backbone.folder)
