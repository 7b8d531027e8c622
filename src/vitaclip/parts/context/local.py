"""Local prompts (Vita-CLIP, section 3.2): a token for each frame, shifted by that frame; each frame sees all."""

from torch import Tensor

from vitaclip.backbones.config import VisionConfig
from vitaclip.parts.contract import ContextKind, interpolate_frames, uniform_tokens
from vitaclip.parts.registry import NoSettings, register


@register("context", "local", label="local prompts", colour="#2f9c86")
class LocalTokens(ContextKind):
    """p = local + c. The local tokens start uniform in +-sqrt(6 / (3 * patch^2 + C)), as global prompts do.

    c is `cls_proj` of the frame tokens, which `parts/assembly.py` computes once for local and summary tokens.
    """

    needs_projection = True

    def __init__(self, config: NoSettings, tower: VisionConfig, num_frames: int, place: int) -> None:
        super().__init__(config, tower, num_frames, place)
        self.prompts = uniform_tokens(num_frames, tower)

    def forward(self, frame_tokens: Tensor) -> Tensor:
        """(B, T, C) -> (B, 1, T, C)."""
        return (interpolate_frames(self.prompts, frame_tokens.shape[1]) + frame_tokens)[:, None]
