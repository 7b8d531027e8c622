"""The multi-frame integration transformer of X-CLIP (Ni et al., ECCV 2022, arXiv 2208.02816).

Axes: B videos, T frames, N patches of a frame, C channels of the tower, D embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitaclip.backbones.config import TransformerConfig, VisionConfig
from vitaclip.backbones.transformer import MLP, Attention, Block
from vitaclip.backbones.vision import Trace, VisionTower
from vitaclip.parts.contract import DropoutMasks, Pool, Reads, count_heads, interpolate_frames, start_linear
from vitaclip.parts.registry import register
from vitaclip.settings import Config, NonNegativeInt


@dataclass(frozen=True, kw_only=True)
class IntegrateConfig(Config):
    """Settings of the multi-frame integration transformer."""

    layers: NonNegativeInt = 1
    """Blocks over the frames' features."""
    heads: NonNegativeInt = 0
    """Heads of these blocks. 0: one for each 64 of D."""
    patches: bool = True
    """Give the patches' features too, for a head that reads texts in the light of the video (`video_read`)."""


@register("pool", "integrate", IntegrateConfig)
class IntegratePool(Pool):
    """The mean over the frames of f + Transformer(f + positions), with f a frame's own features."""

    def __init__(self, config: IntegrateConfig, tower: VisionConfig, num_frames: int, embed_dim: int) -> None:
        super().__init__(config, tower, num_frames, embed_dim)
        heads = count_heads(config.heads, embed_dim, "pool integrate", f"D = {embed_dim}")
        self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(num_frames, embed_dim), std=0.02))
        sizes = TransformerConfig(width=embed_dim, depth=1, heads=heads)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(config.layers))
        for layer in self.blocks.modules():
            if isinstance(layer, Attention):
                nn.init.xavier_uniform_(layer.qkv.weight)
                nn.init.zeros_(layer.qkv.bias)
                start_linear(layer.out)
            elif isinstance(layer, MLP):
                start_linear(layer.fc1)
                start_linear(layer.fc2)
        if config.patches:
            self.requires = frozenset({"patches"})
            self.reads = Reads(all_tokens=True)
            self.frame_shape = (tower.num_tokens, tower.width)
            self.shape = (1 + tower.num_patches, embed_dim)
            self.patch_norm = nn.LayerNorm(tower.width)
            self.patch_proj = nn.Parameter(torch.empty(tower.width, embed_dim).normal_())

    def read(self, traces: Sequence[Trace], tower: VisionTower) -> Tensor:
        """The frames' features (B, T, D), or with `patches` the tokens that they are made of and those of the patches,
        (B, T, L, C)."""
        return tower.own_tokens(traces[-1].output) if self.config.patches else super().read(traces, tower)

    def forward(self, read: Tensor, tower: VisionTower, masks: DropoutMasks | None) -> Tensor:
        """(B, D), or with `patches` (B, 1 + N, D), the video's own feature first; none of unit length."""
        frames = tower.frame_features(read) if self.config.patches else read
        mixed = frames + interpolate_frames(self.positions, frames.shape[1])
        for block in self.blocks:
            mixed = block(mixed)
        video = (mixed + frames).mean(dim=1)
        if not self.config.patches:
            return video
        # The mean comes before the projection: the same numbers from 1/T of the products.
        patches = self.patch_norm(tower.patches(read)).mean(dim=1) @ self.patch_proj
        return torch.cat([video[:, None], patches], dim=1)
