"""EVL's published way to do what `vitaclip` does, restated on the parameters of a model of ours.

All blocks of the tower hand out their queries, keys and tokens, attention is in memory, the decoder makes keys and
values of all tokens, and a vector for each pair of patches is unrolled from the table of displacements.

Axes: B videos, T frames, L tokens, N patches, C channels, h heads.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from published.layers import plain_embed, plain_norm
from vitaclip.model import VideoModel


class PublishedEVL(nn.Module):
    """The tower without gradient, the decoder, the classifier."""

    def __init__(self, model: VideoModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, video: Tensor) -> Tensor:
        """Normalised (B, T, 3, H, W) -> logits (B, K)."""
        with torch.no_grad():
            traces = self.tower(video)
        return self.decode(traces)

    def tower(self, video: Tensor) -> list[dict[str, Tensor]]:
        """What each block did: tokens (B, T, L, C), queries and keys (B, T, L, h, C / h)."""
        vision: Any = self.model.backbone.vision
        x = vision.norm_pre(plain_embed(vision, video.flatten(0, 1)).unflatten(0, video.shape[:2]))
        traces = []
        for block in vision.blocks:
            attention = block.attention
            normed = plain_norm(block.norm1, x)
            parts = zip(attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3), strict=True)
            q, k, v = (F.linear(normed, w, b).unflatten(-1, (attention.heads, -1)) for w, b in parts)
            weights = torch.einsum("btqhc,btkhc->btqkh", q / q.shape[-1] ** 0.5, k).softmax(dim=-2)
            mixed = torch.einsum("btqkh,btkhc->btqhc", weights, v).flatten(-2)
            x = x + F.linear(mixed, attention.out.weight, attention.out.bias)
            hidden = F.linear(plain_norm(block.norm2, x), block.mlp.fc1.weight, block.mlp.fc1.bias)
            hidden = hidden * torch.sigmoid(1.702 * hidden)
            x = x + F.linear(hidden, block.mlp.fc2.weight, block.mlp.fc2.bias)
            traces.append({"q": q, "k": k, "out": x})
        return traces

    def decode(self, traces: list[dict[str, Tensor]]) -> Tensor:
        """Logits (B, K) from the last blocks."""
        pool: Any = self.model.pool
        head: Any = self.model.head
        token = pool.token.expand(len(traces[0]["out"]), -1)
        for trace, time, layer in zip(traces[-len(pool.layers) :], pool.time, pool.layers, strict=True):
            out = trace["out"]
            frames = out.permute(0, 2, 3, 1).flatten(0, 1)  # (B * L, C, T)
            conv = time.convolution
            frames = F.conv1d(frames, conv.weight, conv.bias, padding=1, groups=conv.groups)
            frames = frames.unflatten(0, (len(out), -1)).permute(0, 3, 1, 2)
            features = out + frames + time.positions[:, None]
            q, k = trace["q"][:, :, 1:], trace["k"][:, :, 1:]
            motion = torch.zeros_like(features)
            motion[:, 1:, 1:] += _half(q[:, 1:], k[:, :-1], time.motion.before)
            motion[:, :-1, 1:] += _half(q[:, :-1], k[:, 1:], time.motion.after)
            tokens = layer.norm_tokens((features + motion).flatten(1, 2))
            token = token + _attend(layer.attention, layer.norm_query(token), tokens)
            hidden = layer.fc1(layer.norm_mlp(token))
            token = token + layer.fc2(hidden * torch.sigmoid(1.702 * hidden))
        return head.linear(head.norm(token))


def _half(query: Tensor, key: Tensor, table: Tensor) -> Tensor:
    weights = torch.einsum("btqhc,btkhc->btqkh", query / query.shape[-1] ** 0.5, key).softmax(dim=-2).mean(dim=-1)
    places = torch.arange(math.isqrt(query.shape[2]), device=table.device)
    wide = 2 * len(places) - 1
    apart = places[:, None] - places + len(places) - 1
    displacements = (apart[:, None, :, None] * wide + apart[None, :, None, :]).flatten(2).flatten(end_dim=1)
    return torch.einsum("btqk,qkc->btqc", weights, table[displacements])


def _attend(attention: Any, query: Tensor, tokens: Tensor) -> Tensor:
    q = attention.query(query).unflatten(-1, (attention.heads, -1))
    k, v = (layer(tokens).unflatten(-1, (attention.heads, -1)) for layer in (attention.key, attention.value))
    weights = torch.einsum("bhc,bshc->bsh", q / q.shape[-1] ** 0.5, k).softmax(dim=1)
    return attention.out(torch.einsum("bsh,bshc->bhc", weights, v).flatten(1))
