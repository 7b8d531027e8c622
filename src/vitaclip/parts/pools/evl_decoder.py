"""The decoder of EVL (Lin et al., ECCV 2022, arXiv 2208.03550): a token reads the last blocks of a frozen tower.

Axes: B videos, T frames, L tokens of a frame, N = G x G patches, C channels of the tower, Q channels of a query.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitaclip.backbones.config import VisionConfig
from vitaclip.backbones.transformer import quick_gelu, rotations
from vitaclip.backbones.vision import QueryAttention, Trace, VisionTower
from vitaclip.parts.contract import DropoutMasks, Pool, Reads, count_heads, drop, interpolate_frames
from vitaclip.parts.registry import register
from vitaclip.settings import Config, NonNegativeInt, PositiveFloat, PositiveInt, bounds


@dataclass(frozen=True, kw_only=True)
class DecodeConfig(Config):
    """Settings of EVL's decoder."""

    blocks: PositiveInt = 4
    """The last blocks of the tower that are read, each by a layer of its own."""
    convolution: bool = True
    """Add a convolution over each token's neighbours in time."""
    positions: bool = True
    """Add a learned vector for each frame. For other numbers of frames it is interpolated."""
    motion: bool = True
    """Add where the patches of neighbouring frames look at each other, by the block's own queries and keys."""
    width: NonNegativeInt = 0
    """Channels of a query (Q). 0: those of the tower."""
    heads: NonNegativeInt = 0
    """Heads of the query. 0: one for each 64 channels."""
    mlp_ratio: PositiveFloat = 4.0
    """Hidden width of the layers' MLPs over the tower's channels."""
    dropout: Annotated[float, bounds(ge=0, lt=1)] = 0.5
    """Rate of dropout in the layers' MLPs."""
    start_at_zero: bool = False
    """Start the token at zero, as the published code does because it never calls its own initialisation."""
    project: bool = False
    """Take the token through the tower's own norm and projection, into the space of the texts, so that it can be
    compared with any class name."""


@register("pool", "decode", DecodeConfig)
class DecodePool(Pool):
    """One token goes through a layer for each block it reads, and looks there at all tokens of all frames."""

    requires = frozenset({"class token", "queries and keys", "square patches"})

    def __init__(self, config: DecodeConfig, tower: VisionConfig, num_frames: int, embed_dim: int) -> None:
        super().__init__(config, tower, num_frames, embed_dim)
        self.reads = Reads(config.blocks, all_tokens=True, neighbours=config.motion)
        self.token_shape = (tower.num_tokens, tower.width)
        self.motion_shape = (2, tower.num_patches, tower.num_patches) if config.motion else (0,)
        self.frame_shape = (config.blocks, math.prod(self.token_shape) + math.prod(self.motion_shape))
        self.shape = (embed_dim,) if config.project else (tower.width,)
        self.text_space_remedy = "" if config.project else "set model.pool.project = true"
        self.token = nn.Parameter(torch.zeros(tower.width))
        if not config.start_at_zero:
            nn.init.normal_(self.token, std=0.02)
        self.time = nn.ModuleList(TimeFeatures(config, tower, num_frames) for _ in range(config.blocks))
        self.layers = nn.ModuleList(QueryLayer(config, tower) for _ in range(config.blocks))

    def read(self, traces: Sequence[Trace], tower: VisionTower) -> Tensor:
        """Of each block the class token and the patches that leave it, without tokens that others put behind them, and
        where the patches look in the frames before and after: (B, T, blocks, tokens and weights, one behind the other).
        """
        parts = []
        for trace in traces:
            parts.append(tower.own_tokens(trace.output).flatten(2))
            if self.config.motion:
                parts.append(motion_weights(trace, tower).flatten(2))
        return torch.cat(parts, dim=-1).unflatten(-1, self.frame_shape)

    def forward(self, read: Tensor, tower: VisionTower, masks: DropoutMasks | None) -> Tensor:
        """(B, C), or (B, D) with `project`, not of unit length."""
        token = self.token.expand(read.shape[0], -1)
        for tokens, layer in zip(self._tokens(read), self.layers, strict=True):
            token = layer(token, tokens, masks)
        return tower.frame_features(token[:, None]) if self.config.project else token

    def attention(self, read: Tensor, tower: VisionTower) -> Tensor:
        """That of the last layer's query."""
        token, tokens, (*others, last) = self.token.expand(read.shape[0], -1), self._tokens(read), self.layers
        for layer in others:
            token = layer(token, next(tokens), None)
        assert isinstance(last, QueryLayer)
        weights = last.attention.weights(last.norm_query(token), last.norm_tokens(next(tokens)))
        return weights.unflatten(-1, (read.shape[1], -1))

    def _tokens(self, read: Tensor) -> Iterator[Tensor]:
        """What each layer looks at: (B, T * (1 + N), C)."""
        for number, time in enumerate(self.time):
            tokens, weights = read[:, :, number].tensor_split([math.prod(self.token_shape)], dim=-1)
            yield time(tokens.unflatten(-1, self.token_shape), weights.unflatten(-1, self.motion_shape)).flatten(1, 2)


class TimeFeatures(nn.Module):
    """The tokens of a block, to which what happens in time is added; nothing is changed in place."""

    def __init__(self, config: DecodeConfig, tower: VisionConfig, num_frames: int) -> None:
        super().__init__()
        width = tower.width
        self.convolution = nn.Conv1d(width, width, 3, groups=width) if config.convolution else None
        self.positions = nn.Parameter(torch.zeros(num_frames, width)) if config.positions else None
        self.motion = Motion(tower) if config.motion else None

    def forward(self, tokens: Tensor, weights: Tensor) -> Tensor:
        """(B, T, 1 + N, C) from the tokens that left a block, and the weights (B, T, 2, N, N) of their motion."""
        seen = tokens
        if self.convolution is not None:
            seen = seen + self._convolve(tokens)
        if self.positions is not None:
            seen = seen + interpolate_frames(self.positions, tokens.shape[1])[:, None]
        return seen if self.motion is None else seen + F.pad(self.motion(weights), (0, 0, 1, 0))

    def _convolve(self, tokens: Tensor) -> Tensor:
        """The convolution as three products with shifted frames, which need no other order of axes; zeros outside. What
        is kept for the way back are views of the tokens, which are there anyway."""
        assert self.convolution is not None
        assert self.convolution.bias is not None
        before, now, after = self.convolution.weight[:, 0].unbind(-1)
        from_before = F.pad(tokens[:, :-1] * before, (0, 0, 0, 0, 1, 0))
        from_after = F.pad(tokens[:, 1:] * after, (0, 0, 0, 0, 0, 1))
        return torch.addcmul(self.convolution.bias, tokens, now) + from_before + from_after


class Motion(nn.Module):
    """Where a patch looks in the frame before and in the frame after, as a vector learned for each displacement.

    The displacements from a patch differ for all patches that it looks at. A table of a vector for each pair of
    patches, as published, is never made. From the patches of a row all displacements lie in G rows of the (2G - 1)^2
    vectors, one behind the other: their attention is scattered into bins of these, and a matrix product for each row
    follows.
    """

    displacements: Tensor

    def __init__(self, tower: VisionConfig) -> None:
        super().__init__()
        self.side = tower.grid_side
        self.reach = 2 * self.side - 1
        self.before = nn.Parameter(torch.zeros(self.reach**2, tower.width))
        self.after = nn.Parameter(torch.zeros(self.reach**2, tower.width))
        places = torch.arange(self.side)
        rows = (self.side - 1 - places) * self.reach  # the higher the patch looked at, the further down
        columns = places[:, None] - places + self.side - 1  # from a column to a column
        bins = rows[:, None] + columns[:, None, :]  # (from G columns, G rows, G columns)
        bins = bins.flatten(1).expand(self.side, -1, -1)  # the same from all rows
        self.register_buffer("displacements", bins.flatten(end_dim=1), persistent=False)

    def forward(self, weights: Tensor) -> Tensor:
        """(B, T, N, C) from `motion_weights`."""
        rows = self.side * self.reach
        bins = weights.new_zeros(*weights.shape[:-1], rows)
        bins = bins.scatter(-1, self.displacements.expand_as(weights), weights)
        # (2, G rows of patches, C, the G rows of vectors that each reaches)
        tables = torch.stack([self.before, self.after]).unfold(1, rows, self.reach)
        return torch.einsum("btnrcd,nred->btrce", bins.unflatten(3, (self.side, -1)), tables).flatten(2, 3)


def motion_weights(trace: Trace, tower: VisionTower) -> Tensor:
    """Where each patch looks in the frame before and in the frame after, by the queries and keys of a block, the mean
    of its heads: (B, T, 2, N, N). Where there is no such frame the weights are 0."""
    both = trace.block.attention.queries_and_keys(trace.block.norm1(trace.input), rotations(tower.config, trace.input))
    query, key = (tower.patches(part) for part in both)
    query = query * query.shape[-1] ** -0.5
    before, after = (
        (here @ there.transpose(-2, -1)).softmax(dim=-1).mean(dim=2)
        for here, there in ((query[:, 1:], key[:, :-1]), (query[:, :-1], key[:, 1:]))
    )
    return torch.stack([F.pad(before, (0, 0, 0, 0, 1, 0)), F.pad(after, (0, 0, 0, 0, 0, 1))], dim=2)


class QueryLayer(nn.Module):
    """A layer of the decoder: the token looks at the tokens of all frames, then goes through an MLP."""

    def __init__(self, config: DecodeConfig, tower: VisionConfig) -> None:
        super().__init__()
        width, hidden = tower.width, round(tower.width * config.mlp_ratio)
        self.dropout = config.dropout
        self.norm_query = nn.LayerNorm(width)
        self.norm_tokens = nn.LayerNorm(width)
        query_width = config.width or width
        heads = count_heads(config.heads, query_width, "pool decode", f"the query's {query_width} channels")
        self.attention = QueryAttention(width, query_width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, token: Tensor, tokens: Tensor, masks: DropoutMasks | None) -> Tensor:
        """Token (B, C) and what it looks at (B, T * L, C) -> (B, C)."""
        token = token + self.attention(self.norm_query(token), self.norm_tokens(tokens))
        hidden = quick_gelu(self.fc1(self.norm_mlp(token)))
        return token + self.fc2(drop(hidden, self.dropout, masks))
