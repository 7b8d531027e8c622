"""Checkpoints of the published Vita-CLIP code, to ours and back: one table, two pure functions.

A published state dict holds the whole model under one roof: frozen towers, prompts and temperature. Ours keeps the
towers (`backbone.*`) and what the parts learn (`context.*`, `head.*`) apart. Differences besides names: the image
tower's q, k and v projections are three layers there and one here; global prompts of all blocks are one tensor
(depth, G, C) there; local prompts have a leading axis of size 1 there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitaclip.backbones import Tokenizer
from vitaclip.backbones.config import CLIPConfig
from vitaclip.backbones.families.architecture import HEAD_WIDTH, Activation, read_architecture
from vitaclip.backbones.families.family import CLIPWeights, Trained, register_family
from vitaclip.backbones.families.openai import blocks
from vitaclip.backbones.families.table import Row, depth, fused_attention, layer, same, to_ours, to_theirs

IGNORABLE = (r"prompt_learner\.token_prefix", r"prompt_learner\.token_suffix")
"""Buffers that follow from the token embedding and the class names."""
SIGNATURE = "visual.patch_embed.proj.weight"
"""A key that every such file has and no other format."""


def _stacked(ours: str, theirs: str, count: int) -> Row:
    """One tensor for all blocks there, one a block here; `ours` holds `{}` for the block."""
    names = tuple(ours.format(i) for i in range(count))
    return Row(
        names, (theirs,), lambda whole: list(whole[0][: count + 1]), lambda parts: [torch.stack(parts)], "global"
    )


def _leading_axis(ours: str, theirs: str) -> Row:
    """An axis of size 1 in front there."""
    return Row((ours,), (theirs,), lambda there: [there[0][0]], lambda here: [here[0][None]], "local")


def key_table(vision_depth: int, text_depth: int) -> list[Row]:
    """Every tensor of ours  beside its published names."""
    rows = [
        same("head.logit_scale", "logit_scale", "scale"),
        same("backbone.vision.cls_embed", "visual.cls_token"),
        same("backbone.vision.pos_embed", "visual.pos_embed"),
        same("backbone.vision.proj", "visual.proj"),
        *layer("backbone.vision.patch_embed", "visual.patch_embed.proj"),
        *layer("backbone.vision.norm_pre", "visual.ln_pre"),
        *layer("backbone.vision.norm_post", "visual.ln_post"),
        same("backbone.text.token_embed.weight", "textual.token_embedding.weight"),
        same("backbone.text.pos_embed", "textual.positional_embedding"),
        same("backbone.text.proj", "textual.text_projection"),
        *layer("backbone.text.norm_final", "textual.ln_final"),
        *blocks("backbone.text.blocks", "textual.transformer.resblocks", text_depth),
        same("head.context", "prompt_learner.ctx", "text"),
        same("context.input.time.embed", "visual.time_embed", "time"),
        _stacked("context.blocks.{}.global.prompts", "visual.global_prompts", vision_depth),
    ]
    for i in range(vision_depth):
        ours, theirs = f"backbone.vision.blocks.{i}", f"visual.blocks.{i}"
        rows += fused_attention(f"{ours}.attention", f"{theirs}.attn")
        for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
            rows += layer(f"{ours}.{name}", f"{theirs}.{name}")
        context = f"context.blocks.{i}"
        rows += [
            _leading_axis(f"{context}.local.prompts", f"{theirs}.local_prompts"),
            *layer(f"{context}.cls_proj", f"{theirs}.cls_proj", "projection"),
            *layer(f"{context}.summary.norm", f"{theirs}.summary_ln", "summary"),
            *fused_attention(f"{context}.summary.attention", f"{theirs}.summary_attn_layer", "summary"),
        ]
    return rows


@dataclass(frozen=True)
class Published:
    """A published checkpoint in our terms."""

    clip_config: CLIPConfig
    settings: dict[str, Any]
    """Fields of a `ModelConfig`: the parts, and the number of frames."""
    clip_state: dict[str, Tensor]
    adapter_state: dict[str, Tensor]

    @property
    def has_prompts(self) -> bool:
        """Whether anything was trained: a bare backbone file of the published code has the temperature at most."""
        return set(self.adapter_state) != {"head.logit_scale"}


def from_published(state: Mapping[str, Tensor], *, vision_heads: int = 0, text_heads: int = 0) -> Published:
    """Read a published Vita-CLIP state dict, or the backbone file of the published code, which holds no prompts.

    Args:
        state: name -> tensor.
        vision_heads, text_heads: attention heads, which no weight tells. 0: CLIP's rule, width / 64.

    Returns:
        Configs read off the shapes (the position of the class name is not in the weights: it stays at its default)
        and the state dicts of the towers and of the prompts.

    Raises:
        ValueError: if a key is missing or unknown; the message names the first few.
    """
    table = key_table(depth(state, r"visual\.blocks"), depth(state, r"textual\.transformer\.resblocks"))
    ours = to_ours(state, table, "a published Vita-CLIP checkpoint", IGNORABLE)
    clip_state = _under("backbone.", ours)
    adapter_state = {name: value for name, value in ours.items() if not name.startswith("backbone.")}

    # The published code starts from this where its backbone file has none.
    clip_state["logit_scale"] = adapter_state.setdefault("head.logit_scale", torch.tensor(math.log(1 / 0.07)))
    return Published(
        read_architecture(clip_state, "quick_gelu", vision_heads=vision_heads, text_heads=text_heads),
        _settings(adapter_state),
        clip_state,
        adapter_state,
    )


def check_writable(config: CLIPConfig) -> None:
    """Raise ValueError for a backbone that the format cannot tell apart from OpenAI's: it holds neither activation nor
    heads."""
    of_64 = all(tower.width == HEAD_WIDTH * tower.heads for tower in (config.vision, config.text))
    if config.activation != "quick_gelu" or not of_64:
        raise ValueError(
            f"this backbone has {config.activation} and heads of {config.vision.width // config.vision.heads}; the"
            f" published format tells neither and means quick_gelu and {HEAD_WIDTH}: save a folder instead"
        )


def to_published(clip_state: Mapping[str, Tensor], adapter_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same model under the published names, as the published code would save it (without `module.`).

    Raises:
        ValueError: if a tensor of ours has no published name.
    """
    ours = {f"backbone.{name}": tensor for name, tensor in clip_state.items() if name != "logit_scale"}
    ours |= adapter_state
    vision_depth = depth(ours, r"(backbone\.vision|context)\.blocks")
    text_depth = depth(ours, r"backbone\.text\.blocks")
    return to_theirs(ours, key_table(vision_depth, text_depth))


def name_buffers(
    names: Sequence[str], tokenizer: Tokenizer, token_embed: Tensor, *, num_context: int, context_length: int
) -> dict[str, Tensor]:
    """What the published code keeps of its class names, and wants back when it loads a checkpoint.

    Args:
        names: K class names.
        tokenizer: of the backbone.
        token_embed: (vocabulary, W) the text tower's token embeddings.
        num_context: M learned tokens.
        context_length: tokens that the text tower takes.

    Returns:
        The embeddings of the start token (K, 1, W), and of name, full stop, end token and padding
        (K, context_length - 1 - M, W).
    """
    room = context_length - 1 - num_context
    rows = [[*tokenizer.encode(name.replace("_", " ") + "."), tokenizer.end_id] for name in names]
    padded = torch.tensor([row + [0] * (room - len(row)) for row in rows])
    start = torch.full((len(rows), 1), tokenizer.start_id)
    return {"prompt_learner.token_prefix": token_embed[start], "prompt_learner.token_suffix": token_embed[padded]}


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _settings(adapter: Mapping[str, Tensor]) -> dict[str, Any]:
    """Which parts there are, read off the names and shapes of their values."""
    first = "context.blocks.0."
    time, prompts, texts = (
        adapter.get(name) for name in ("context.input.time.embed", f"{first}global.prompts", "head.context")
    )
    context: dict[str, Any] = {} if prompts is None else {"global": {"count": len(prompts)}}
    there = {"local": "local.prompts", "summary": "summary.norm.weight"}
    context |= {kind: {} for kind, key in there.items() if first + key in adapter}
    if time is not None:
        context["time"] = {}
    head: Any = "templates"
    if texts is not None:
        head = {"name": "learned_text", "num_context": texts.shape[-2], "per_class": texts.dim() == 3}
    return {"num_frames": 8 if time is None else len(time), "context": context, "head": head}


@register_family("the published Vita-CLIP code", SIGNATURE)
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    """A trained model, or the backbone file that its training starts from."""
    found = from_published(state)
    trained = Trained(found.settings, found.adapter_state) if found.has_prompts else None
    return CLIPWeights("published Vita-CLIP", found.clip_config, found.clip_state, folder, trained)
