"""What a frame's feature is made of: what the tokens that the tower pools attend to in the last block, or what a pool
attends to that looks at all frames itself. Computed beside the model's fused forward pass.

Axes: T frames, N patches in rows x columns, L tokens of a frame, S tokens attended to, C image width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vitaclip.backbones.transformer import Attention, rotations
from vitaclip.backbones.vision import Trace, VisionTower
from vitaclip.model import VideoModel
from vitaclip.parts.registry import context_look

_TOKENS = {
    "patches": ("patches", "#e0762b"),
    "itself": ("itself", "#9aa4b2"),
    "added tokens": ("added tokens", "#4f8f8b"),
    "cls tokens": ("cls tokens", "#9aa4b2"),
}


def label_and_color(kind: str) -> tuple[str, str]:
    """What figures call a kind of token, and its colour. A kind that is not known goes by its own name, in grey."""
    return _TOKENS.get(kind) or context_look(kind) or (kind, "#5a626c")


@dataclass(frozen=True)
class ClsAttention:
    """The last block's attention from each frame's pooled tokens, or that of a pool, by the kind of token seen."""

    weights: Mapping[str, Tensor]
    """(heads, T, tokens of the kind) float32 on the CPU: `patches` (row by row), the cls token if there is one
    (`itself`, or `cls tokens` where others are pooled), then the kinds of context that the model has. Over all kinds
    they sum to 1. Of a pool: `patches` and `cls tokens`, which sum to 1 over all frames together."""
    of: str = "of the cls token, last\nblock"
    """Whose it is, for pictures."""

    @property
    def heat(self) -> Tensor:
        """(T, rows, columns): attention on each patch, mean of the heads."""
        patches = self.weights["patches"].mean(dim=0)
        side = round(patches.shape[-1] ** 0.5)  # frames are square
        return patches.unflatten(-1, (side, side))

    @property
    def mass(self) -> dict[str, Tensor]:
        """(T,) for each kind: the fraction of the attention that goes there, mean of the heads. They sum to 1."""
        return {kind: weights.sum(dim=-1).mean(dim=0) for kind, weights in self.weights.items()}


@torch.no_grad()
def last_attention(model: VideoModel, clip: Tensor) -> ClsAttention:
    """Run a clip (T, 3, H, W), as `encode_video` takes it, through the image tower, and compute what the last block's
    tokens attend to, each weighed by how much of it the tower's own pooling takes."""
    if lacking := {"square patches", "queries and keys"} - model.backbone.offers:
        raise ValueError(f"attention is not explained for a backbone without {', '.join(sorted(lacking))}")
    tower, traces = model.backbone.vision, model.run_tower(clip[None])
    looked = model.pool.attention(model.pool.read(traces, tower), tower)
    if looked is not None:
        looked = looked[0].float().cpu()
        looked = looked / looked.sum(dim=(1, 2), keepdim=True)  # in bfloat16 they sum to 1 by rounding alone
        cls, patches = looked.split([1, looked.shape[-1] - 1], dim=-1)
        return ClsAttention({"patches": patches, "cls tokens": cls}, f"of the pool {model.pool.name!r},\nin all frames")
    return _block_attention(tower, traces[-1])


def _block_attention(tower: VisionTower, trace: Trace) -> ClsAttention:
    config, block, context = tower.config, trace.block, trace.context
    pooled = tower.pool_weights(trace.output)
    pooled = pooled / pooled.sum(dim=-1, keepdim=True)  # in bfloat16 they sum to 1 by rounding alone
    tokens = block.norm1(trace.input)
    groups = (block.norm1(group).expand(*tokens.shape[:2], -1, -1) for group in context.values())
    seen, rope = torch.cat([tokens, *groups], dim=-2)[0], rotations(config, tokens)
    by_token = attention_weights(block.attention, seen, pooled.shape[-1], rope)
    weights = (by_token * pooled[0, :, None, :, None]).sum(dim=-2).transpose(0, 1).cpu()
    cls = "itself" if config.pool == "class" else "cls tokens"
    added = tokens.shape[-2] - config.num_tokens  # by kinds that put tokens behind the patches
    sizes = {cls: int(config.class_token), "patches": config.num_patches, "added tokens": added}
    sizes |= {kind: group.shape[-2] for kind, group in context.items()}
    parts = dict(zip(sizes, weights.split(list(sizes.values()), dim=-1), strict=True))
    of = "cls token" if config.pool == "class" else "pooled tokens"
    return ClsAttention({kind: parts[kind] for kind in ("patches", *sizes) if sizes[kind]}, f"of the {of}, last\nblock")


def attention_weights(layer: Attention, tokens: Tensor, looking: int, rope: Tensor | None = None) -> Tensor:
    """The weights (..., heads, looking, L) with which the first tokens of L normalised ones (..., L, C) attend to all
    of them, of which those of the frame itself are turned by `rope`.

    The fused kernel does not return them. The softmax is taken in float32 at least.
    """
    query, key = layer.queries_and_keys(tokens, rope)
    exact = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast(tokens.device.type, enabled=False):
        scores = query[..., :looking, :].to(exact) @ key.to(exact).transpose(-2, -1) / query.shape[-1] ** 0.5
    return scores.softmax(dim=-1)
