"""Visual prompts in the first blocks (VPT, Jia et al., ECCV 2022; ViFi-CLIP's prompting, arXiv 2212.03640)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from vitaclip.backbones.config import VisionConfig
from vitaclip.parts.contract import INPUT, ContextKind
from vitaclip.parts.registry import register
from vitaclip.settings import MAX_TOKENS, Config, bounds


@dataclass(frozen=True, kw_only=True)
class DeepTokensConfig(Config):
    """Settings of visual prompts in the first blocks."""

    count: Annotated[int, bounds(ge=1, le=MAX_TOKENS)] = 10
    """M, tokens of each frame."""
    depth: Annotated[int, bounds(ge=1, remedy="leave the kind out to have none")] = 9
    """Blocks that get tokens of their own. Behind them the last ones go on as tokens like any other."""


@register("context", "deep_tokens", DeepTokensConfig, label="deep tokens", colour="#4f8f8b")
class DeepTokens(ContextKind):
    """M learned tokens (M, C) behind the patches, which look at other tokens and are looked at."""

    frames_alone = True

    def __init__(self, config: DeepTokensConfig, tower: VisionConfig, num_frames: int, place: int) -> None:
        super().__init__(config, tower, num_frames, place)
        self.replaces = place != INPUT
        self.prompts = nn.Parameter(torch.empty(config.count, tower.width).normal_(std=0.02))

    @classmethod
    def places(cls, config: DeepTokensConfig, depth: int) -> Sequence[int]:
        """At the input, for the first block, and at the blocks from the second on."""
        if config.depth > depth:
            raise ValueError(
                f"model.context.deep_tokens: depth = {config.depth} is more than the {depth} blocks of this backbone;"
                " choose a smaller one"
            )
        return (INPUT, *range(1, config.depth))

    def change_tokens(self, tokens: Tensor) -> Tensor:
        """(B, T, L, C) -> (B, T, L + M, C) at the input; later the last M are replaced."""
        kept = tokens[..., : -len(self.prompts), :] if self.replaces else tokens
        return torch.cat([kept, self.prompts.expand(*tokens.shape[:-2], -1, -1)], dim=-2)
