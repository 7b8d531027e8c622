"""Summary tokens (Vita-CLIP, section 3.2): a token for each frame that has looked at the frame tokens of all frames."""

from torch import Tensor, nn

from vitaclip.backbones.config import VisionConfig
from vitaclip.backbones.transformer import Attention
from vitaclip.parts.contract import ContextKind
from vitaclip.parts.registry import NoSettings, register


@register("context", "summary", label="summary token", colour="#8a5ab0")
class SummaryToken(ContextKind):
    """s = c + MHSA(LN(c)) across the frames; frame t gets s[t].

    c is `cls_proj` of the frame tokens, which `parts/assembly.py` computes once for local and summary tokens. The block
    takes s through its own norm1, as it does all context.
    """

    needs_projection = True
    starts_after_projection = True

    def __init__(self, config: NoSettings, tower: VisionConfig, num_frames: int, place: int) -> None:
        super().__init__(config, tower, num_frames, place)
        self.norm = nn.LayerNorm(tower.width)
        self.attention = Attention(tower.width, tower.heads)

    def forward(self, frame_tokens: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, 1, C)."""
        return (frame_tokens + self.attention(self.norm(frame_tokens)))[:, :, None]
