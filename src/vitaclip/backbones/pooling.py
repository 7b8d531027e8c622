"""Attention of a single query, and the pool that is made of it.

Axes: B frames or videos, S tokens attended to, C channels, Q channels of the query.
"""

import torch
from torch import Tensor, nn

from vitaclip.backbones.config import VisionConfig
from vitaclip.backbones.transformer import MLP


class QueryAttention(nn.Module):
    """Multi-head attention of a single query, in which the tokens' keys and values are never made.

    The scores q . (W_k z) are (W_k^T q) . z, and the mixture of the values is W_v applied to the mixture of the tokens:
    so both matrices are applied to the query's side, once instead of for each token. A bias of the keys would shift
    all scores alike and drop out of the softmax, so there is none.
    """

    def __init__(self, width: int, query_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, query_width)
        self.key = nn.Linear(width, query_width, bias=False)
        self.value = nn.Linear(width, query_width)
        self.out = nn.Linear(query_width, width)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        """Query (B or 1, C) and tokens (B, S, C) -> (B, C)."""
        mixed = self.weights(query, tokens) @ tokens
        values = torch.einsum("bhc,hqc->bhq", mixed, self._by_head(self.value.weight))
        return self.out(values.flatten(1) + self.value.bias)

    def weights(self, query: Tensor, tokens: Tensor) -> Tensor:
        """How much the query attends to each token: (B, heads, S)."""
        split = self.query(query).unflatten(-1, (self.heads, -1))
        folded = torch.einsum("bhq,hqc->bhc", split * split.shape[-1] ** -0.5, self._by_head(self.key.weight))
        return (folded @ tokens.transpose(1, 2)).softmax(dim=-1)

    def _by_head(self, weight: Tensor) -> Tensor:
        """(Q, C) -> (heads, Q / heads, C)."""
        return weight.unflatten(0, (self.heads, -1))


class AttentionPool(nn.Module):
    """A learned probe attends to all tokens of a frame, then an MLP is added to what it finds (SigLIP, PE-Core)."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(config.width).normal_(std=config.width**-0.5))
        self.attention = QueryAttention(config.width, config.width, config.pool_heads or config.heads)
        self.norm = nn.LayerNorm(config.width, config.norm_epsilon)
        self.mlp = MLP(config.width, round(config.width * config.pool_mlp_ratio), config.activation)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., S, C) -> (..., C)."""
        found = self.attention(self.probe[None], tokens.flatten(end_dim=-3)).unflatten(0, tokens.shape[:-2])
        return found + self.mlp(self.norm(found))

    def weights(self, tokens: Tensor) -> Tensor:
        """How much the probe attends to each token, the mean of its heads: (..., S, C) -> (..., S)."""
        by_head = self.attention.weights(self.probe[None], tokens.flatten(end_dim=-3))
        return by_head.mean(dim=1).unflatten(0, tokens.shape[:-2])
