"""Blocks of the two towers under the published parameter names.

Axes: n frames of all videos, B videos, T frames, L tokens, K texts, G global prompts, C and W channels, h heads.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitaclip.parts.config import ModelConfig


class Norm(nn.LayerNorm):
    """Layer norm in float32 at least, also under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> same."""
        return super().forward(x.to(torch.promote_types(x.dtype, torch.float32))).to(x.dtype)


def plain_norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
    """torch's norm with the weights of a layer of ours, whose own way on a GPU is another."""
    return F.layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)


def plain_embed(vision: Any, frames: Tensor) -> Tensor:
    """Normalised (n, 3, H, W) -> tokens (n, L, C) with the tower's convolution."""
    patches = vision.patch_embed(frames).flatten(2).transpose(1, 2)
    return torch.cat([vision.cls_embed.expand(len(patches), 1, -1), patches], dim=1) + vision.pos_embed


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> same."""
        return x * torch.sigmoid(1.702 * x)


class EinsumAttention(nn.Module):
    """Attention of all tokens to all, with the weights of every pair in memory."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        """(n, L, C) -> same."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        weights = torch.einsum("nqhc,nkhc->nqkh", query / query.shape[-1] ** 0.5, key).softmax(dim=2)
        return self.out_proj(torch.einsum("nqkh,nkhc->nqhc", weights, value).flatten(-2))


class ImageBlock(nn.Module):
    """A block of the image tower; prompts join as tokens and leave again."""

    def __init__(self, width: int, heads: int, hidden: int, prompts: ModelConfig) -> None:
        super().__init__()
        self.prompts = prompts
        self.norm1, self.norm2 = Norm(width), Norm(width)
        self.attn = EinsumAttention(width, heads)
        self.mlp = nn.Sequential()
        self.mlp.add_module("fc1", nn.Linear(width, hidden))
        self.mlp.add_module("act", QuickGELU())
        self.mlp.add_module("fc2", nn.Linear(hidden, width))
        if {"local", "summary"} & prompts.context.keys():
            self.cls_proj = nn.Linear(width, width)
        if "local" in prompts.context:
            self.local_prompts = nn.Parameter(torch.empty(1, prompts.num_frames, width))
        if "summary" in prompts.context:
            self.summary_ln = Norm(width)
            self.summary_attn_layer = EinsumAttention(width, heads)

    def forward(self, x: Tensor) -> Tensor:
        """(n, [cls, G global prompts, patches], C) -> same."""
        length, num_frames = x.shape[1], self.prompts.num_frames
        if {"local", "summary"} & self.prompts.context.keys():
            cls = self.cls_proj(x[:, 0].unflatten(0, (-1, num_frames)))
        if "summary" in self.prompts.context:
            summary = cls + self.summary_attn_layer(self.summary_ln(cls))
            x = torch.cat([x, summary.flatten(end_dim=1)[:, None]], dim=1)
        if "local" in self.prompts.context:
            local = (self.local_prompts + cls).repeat_interleave(num_frames, dim=0)
            x = torch.cat([x[:, :1], local, x[:, 1:]], dim=1)
        x = x + self.attn(self.norm1(x))
        if "local" in self.prompts.context:
            x = torch.cat([x[:, :1], x[:, 1 + num_frames :]], dim=1)
        x = x[:, :length]
        return x + self.mlp(self.norm2(x))


class TextBlock(nn.Module):
    """A block of CLIP's text tower, around torch's own attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = Norm(width), Norm(width)
        self.attn = nn.MultiheadAttention(width, heads)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", QuickGELU())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(L, K, W) -> same."""
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask.to(normed.dtype))[0]
        return x + self.mlp(self.ln_2(x))
