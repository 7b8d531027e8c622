"""The time embedding (Vita-CLIP, section 3.2): a learned vector for each place in the clip, added to its tokens."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vitaclip.backbones.config import VisionConfig
from vitaclip.parts.contract import INPUT, ContextKind, interpolate_frames
from vitaclip.parts.registry import NoSettings, register


@register("context", "time", label="time embedding", colour="#b08a3a")
class TimeEmbedding(ContextKind):
    """A vector (T, C), added to all tokens of a frame before the first block. It starts normal, with a std of
    0.02."""

    def __init__(self, config: NoSettings, tower: VisionConfig, num_frames: int, place: int) -> None:
        super().__init__(config, tower, num_frames, place)
        self.embed = nn.Parameter(torch.empty(num_frames, tower.width).normal_(std=0.02))

    @classmethod
    def places(cls, config: NoSettings, depth: int) -> Sequence[int]:
        """At the input alone."""
        return (INPUT,)

    def change_tokens(self, tokens: Tensor) -> Tensor:
        """(B, T, L, C) -> same."""
        return tokens + interpolate_frames(self.embed, tokens.shape[1])[:, None]
