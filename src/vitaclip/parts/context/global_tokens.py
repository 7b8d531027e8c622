"""Global prompts (Vita-CLIP, section 3.2): learned tokens of a block, the same for every frame of every video."""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from vitaclip.backbones.config import VisionConfig
from vitaclip.parts.contract import ContextKind, uniform_tokens
from vitaclip.parts.registry import register
from vitaclip.settings import MAX_TOKENS, Config, bounds


@dataclass(frozen=True, kw_only=True)
class GlobalConfig(Config):
    """Settings of global prompts."""

    count: Annotated[int, bounds(ge=1, le=MAX_TOKENS, remedy="leave the kind out to have none")] = 8
    """G, tokens of each block."""


@register("context", "global", GlobalConfig, label="global prompts", colour="#2f6fb3")
class GlobalTokens(ContextKind):
    """G learned tokens (G, C), which start uniform in +-sqrt(6 / (3 * patch^2 + C))."""

    frames_alone = True

    def __init__(self, config: GlobalConfig, tower: VisionConfig, num_frames: int, place: int) -> None:
        super().__init__(config, tower, num_frames, place)
        self.prompts = uniform_tokens(config.count, tower)

    def forward(self, frame_tokens: Tensor) -> Tensor:
        """(B, T, C) -> (1, 1, G, C)."""
        return self.prompts[None, None]
