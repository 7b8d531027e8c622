"""What the cls token of each frame attends to in the last block, or a pool that looks itself in all frames, computed
beside the model's fused forward pass.

Axes: T frames, N patches in rows x columns, L tokens of a frame, S tokens attended to, C image width.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vitaclip.backbones.transformer import Attention
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
    """The last block's attention from each frame's cls token, or that of a pool, by the kind of token attended to."""

    weights: Mapping[str, Tensor]
    """(heads, T, tokens of the kind) float32 on the CPU: `patches` (row by row) and `itself`, then the kinds of
    context that the model has. Over all kinds they sum to 1. Of a pool: `patches` and `cls tokens`, which sum to 1 over
    all frames together."""
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
    """Run a clip (T, 3, H, W) up to the last block of the image tower and compute what that block's cls tokens attend
    to. Pixels are taken as `encode_video` takes them."""
    if lacking := {"class token", "square patches", "queries and keys"} - model.backbone.offers:
        raise ValueError(f"attention is not explained for a backbone without {', '.join(sorted(lacking))}")
    tower = model.backbone.vision
    clip = clip if clip.is_floating_point() else model.backbone.normalize_pixels(clip)
    kinds: list[str] = []

    def before(block: int, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        tokens = model.context[block].change_tokens(tokens)
        groups = model.context[block].context(tower.frame_token(tokens))
        kinds[:] = groups
        return tokens, list(groups.values())

    tokens, reads = model.context.input.change_tokens(tower.embed(clip[None])), model.pool.reads
    traces = deque(tower.run_blocks(tokens, before, all_tokens=reads.all_tokens), maxlen=reads.blocks)
    looked = model.pool.attention(traces, tower)
    if looked is not None:
        looked = looked[0].float().cpu()
        looked = looked / looked.sum(dim=(1, 2), keepdim=True)  # in bfloat16 they sum to 1 by rounding alone
        cls, patches = looked.split([1, looked.shape[-1] - 1], dim=-1)
        return ClsAttention({"patches": patches, "cls tokens": cls}, f"of the pool {model.pool.name!r},\nin all frames")
    trace = traces[-1]
    last = trace.block
    tokens, context = last.norm1(trace.input), [last.norm1(group) for group in trace.context]
    batch = tokens.shape[:2]
    keys = torch.cat([tokens, *(group.expand(*batch, -1, -1) for group in context)], dim=-2)[0]
    weights = attention_weights(last.attention, tokens[0, :, :1], keys)[:, :, 0].transpose(0, 1).cpu()
    added = tokens.shape[-2] - 1 - tower.config.num_patches  # by kinds that put tokens behind the patches
    sizes = [1, tower.config.num_patches, *([added] if added else []), *(group.shape[-2] for group in context)]
    itself, patches, *others = weights.split(sizes, dim=-1)
    kinds[:0] = ["added tokens"] if added else []
    return ClsAttention({"patches": patches, "itself": itself} | dict(zip(kinds, others, strict=True)))


def attention_weights(layer: Attention, tokens: Tensor, keys: Tensor) -> Tensor:
    """The weights (..., heads, L, S) with which normalised tokens (..., L, C) look at keys (..., S, C).

    The fused kernel does not return them. The softmax is taken in float32 at least.
    """
    query, key = layer.queries_and_keys(tokens)[0], layer.queries_and_keys(keys)[1]
    exact = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast(tokens.device.type, enabled=False):
        scores = query.to(exact) @ key.to(exact).transpose(-2, -1) / query.shape[-1] ** 0.5
    return scores.softmax(dim=-1)
