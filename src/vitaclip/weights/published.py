"""Checkpoints of the published Vita-CLIP code, to ours and back: one table, two pure functions.

A published state dict holds the whole model under one roof: frozen towers, prompts and temperature. Ours keeps the
towers (`clip.*`) and what trains (`prompts.*`) apart. Differences besides names: the image tower's q, k and v
projections are three layers there and one here; global prompts of all blocks are one tensor (depth, G, C) there;
local prompts have a leading axis of size 1 there.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vitaclip.config import CLIPConfig, TextConfig, TextPromptConfig, VideoPromptConfig, VisionConfig

IGNORED = ("prompt_learner.token_prefix", "prompt_learner.token_suffix")
"""Buffers that follow from the token embedding and the class names."""


Convert = Callable[[list[Tensor]], list[Tensor]]


@dataclass(frozen=True)
class Row:
    """Tensors of ours, the published tensors that hold the same numbers, and how to get from one to the other."""

    ours: tuple[str, ...]
    published: tuple[str, ...]
    to_ours: Convert
    to_published: Convert
    kind: str = ""
    """The kind of prompt it belongs to: a kind is there in whole or not at all. Empty: it must be there."""


def _same(ours: str, published: str, kind: str = "") -> Row:
    return Row((ours,), (published,), lambda tensors: tensors, lambda tensors: tensors, kind)


def _fused(ours: str, published: str, kind: str = "") -> Row:
    """q, k and v one under the other; `published` holds `{}` in their place."""
    names = tuple(published.format(part) for part in "qkv")
    return Row((ours,), names, lambda parts: [torch.cat(parts)], lambda whole: list(whole[0].chunk(3)), kind)


def _stacked(ours: str, published: str, depth: int) -> Row:
    """One tensor for all blocks there, one a block here; `ours` holds `{}` for the block."""
    names = tuple(ours.format(i) for i in range(depth))
    return Row(names, (published,), lambda whole: list(whole[0]), lambda parts: [torch.stack(parts)], "global")


def _leading_axis(ours: str, published: str) -> Row:
    """An axis of size 1 in front there."""
    return Row((ours,), (published,), lambda there: [there[0][0]], lambda here: [here[0][None]], "local")


def _layer(ours: str, published: str, kind: str = "") -> Iterator[Row]:
    for part in ("weight", "bias"):
        yield _same(f"{ours}.{part}", f"{published}.{part}", kind)


def _attention(ours: str, published: str, kind: str = "") -> Iterator[Row]:
    for part in ("weight", "bias"):
        yield _fused(f"{ours}.qkv.{part}", f"{published}.{{}}_proj.{part}", kind)
    yield from _layer(f"{ours}.out", f"{published}.out_proj", kind)


def key_table(vision_depth: int, text_depth: int) -> list[Row]:
    """Every tensor of ours (`clip.` or `prompts.` first) beside its published names."""
    rows = [
        _same("prompts.logit_scale", "logit_scale"),
        _same("clip.vision.cls_embed", "visual.cls_token"),
        _same("clip.vision.pos_embed", "visual.pos_embed"),
        _same("clip.vision.proj", "visual.proj"),
        *_layer("clip.vision.patch_embed", "visual.patch_embed.proj"),
        *_layer("clip.vision.norm_pre", "visual.ln_pre"),
        *_layer("clip.vision.norm_post", "visual.ln_post"),
        _same("clip.text.token_embed.weight", "textual.token_embedding.weight"),
        _same("clip.text.pos_embed", "textual.positional_embedding"),
        _same("clip.text.proj", "textual.text_projection"),
        *_layer("clip.text.norm_final", "textual.ln_final"),
        _same("prompts.text.context", "prompt_learner.ctx", "text"),
        _same("prompts.video.time_embed", "visual.time_embed", "time"),
        _stacked("prompts.video.blocks.{}.global_prompts", "visual.global_prompts", vision_depth),
    ]
    for i in range(vision_depth):
        ours, published = f"clip.vision.blocks.{i}", f"visual.blocks.{i}"
        rows += _attention(f"{ours}.attention", f"{published}.attn")
        for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
            rows += _layer(f"{ours}.{name}", f"{published}.{name}")
        prompts = f"prompts.video.blocks.{i}"
        rows += [
            _leading_axis(f"{prompts}.local_prompts", f"{published}.local_prompts"),
            *_layer(f"{prompts}.cls_proj", f"{published}.cls_proj", "projection"),
            *_layer(f"{prompts}.summary_norm", f"{published}.summary_ln", "summary"),
            *_attention(f"{prompts}.summary_attention", f"{published}.summary_attn_layer", "summary"),
        ]
    for i in range(text_depth):
        ours, published = f"clip.text.blocks.{i}", f"textual.transformer.resblocks.{i}"
        for kind in ("weight", "bias"):
            rows.append(_same(f"{ours}.attention.qkv.{kind}", f"{published}.attn.in_proj_{kind}"))
        rows += _layer(f"{ours}.attention.out", f"{published}.attn.out_proj")
        for name, there in (
            ("norm1", "ln_1"),
            ("norm2", "ln_2"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
        ):
            rows += _layer(f"{ours}.{name}", f"{published}.{there}")
    return rows


@dataclass(frozen=True)
class Published:
    """A published checkpoint in our terms."""

    clip_config: CLIPConfig
    video: VideoPromptConfig
    text: TextPromptConfig
    clip_state: dict[str, Tensor]
    prompts_state: dict[str, Tensor]


def from_published(state: Mapping[str, Tensor], *, vision_heads: int = 0, text_heads: int = 0) -> Published:
    """Read a published Vita-CLIP state dict; each key is used, ignorable, or an error.

    Args:
        state: name -> tensor, with or without `module.` in front of the names.
        vision_heads, text_heads: attention heads, which no weight tells. 0: CLIP's rule, width / 64.

    Returns:
        Configs read off the shapes (the position of the class name is not in the weights: it stays at its default)
        and the state dicts of the towers and of the prompts.

    Raises:
        ValueError: if a key is missing or unknown; the message names the first few.
    """
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    table = key_table(_depth(state, r"visual\.blocks"), _depth(state, r"textual\.transformer\.resblocks"))
    kinds = {row.kind for row in table if any(name in state for name in row.published)} | {""}
    expected = [row for row in table if row.kind in kinds]
    names = [name for row in expected for name in row.published]
    missing = [name for name in names if name not in state]
    unknown = sorted(set(state) - set(names) - set(IGNORED))
    if missing or unknown:
        raise ValueError(
            f"not a published Vita-CLIP checkpoint: {len(missing)} keys missing {missing[:3]},"
            f" {len(unknown)} unknown {unknown[:3]}"
        )
    ours: dict[str, Tensor] = {}
    for row in expected:
        ours.update(zip(row.ours, row.to_ours([state[name] for name in row.published]), strict=True))
    ours["clip.logit_scale"] = ours["prompts.logit_scale"]
    return Published(
        _clip_config(ours, vision_heads, text_heads),
        _video_config(ours),
        _text_config(ours),
        _under("clip.", ours),
        _under("prompts.", ours),
    )


def to_published(clip_state: Mapping[str, Tensor], prompts_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same model under the published names, as the published code would save it (without `module.`).

    Raises:
        ValueError: if a tensor of ours has no published name.
    """
    ours = {f"clip.{name}": tensor for name, tensor in clip_state.items() if name != "logit_scale"}
    ours |= {f"prompts.{name}": tensor for name, tensor in prompts_state.items()}
    published: dict[str, Tensor] = {}
    for row in key_table(_depth(ours, r"(clip\.vision|prompts\.video)\.blocks"), _depth(ours, r"clip\.text\.blocks")):
        if row.ours and all(name in ours for name in row.ours):
            tensors = row.to_published([ours.pop(name) for name in row.ours])
            published.update(zip(row.published, tensors, strict=True))
    if ours:
        raise ValueError(f"no published name for {len(ours)} tensors: {sorted(ours)[:3]}")
    return published


def _depth(state: Mapping[str, Tensor], prefix: str) -> int:
    """Number of blocks whose keys start with the pattern."""
    blocks = [re.match(rf"(?:{prefix})\.(?P<block>\d+)\.", name) for name in state]
    return max((int(found["block"]) + 1 for found in blocks if found), default=0)


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _clip_config(ours: Mapping[str, Tensor], vision_heads: int, text_heads: int) -> CLIPConfig:
    width, _, patch_size, _ = ours["clip.vision.patch_embed.weight"].shape
    side = round((len(ours["clip.vision.pos_embed"]) - 1) ** 0.5)
    vocab_size, text_width = ours["clip.text.token_embed.weight"].shape
    return CLIPConfig(
        vision=VisionConfig(
            image_size=side * patch_size,
            patch_size=patch_size,
            width=width,
            depth=_depth(ours, r"clip\.vision\.blocks"),
            heads=vision_heads or max(1, width // 64),
            mlp_ratio=len(ours["clip.vision.blocks.0.mlp.fc1.bias"]) / width,
        ),
        text=TextConfig(
            vocab_size=vocab_size,
            context_length=len(ours["clip.text.pos_embed"]),
            width=text_width,
            depth=_depth(ours, r"clip\.text\.blocks"),
            heads=text_heads or max(1, text_width // 64),
        ),
        embed_dim=ours["clip.vision.proj"].shape[1],
    )


def _video_config(ours: Mapping[str, Tensor]) -> VideoPromptConfig:
    block = "prompts.video.blocks.0"
    time = ours.get("prompts.video.time_embed")
    global_prompts = ours.get(f"{block}.global_prompts")
    return VideoPromptConfig(
        num_frames=8 if time is None else len(time),
        num_global=0 if global_prompts is None else len(global_prompts),
        local=f"{block}.local_prompts" in ours,
        summary=f"{block}.summary_norm.weight" in ours,
        time=time is not None,
    )


def _text_config(ours: Mapping[str, Tensor]) -> TextPromptConfig:
    context = ours.get("prompts.text.context")
    if context is None:
        return TextPromptConfig(num_context=0)
    return TextPromptConfig(num_context=context.shape[-2], per_class=context.dim() == 3)
