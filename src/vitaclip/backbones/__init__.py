"""The frozen two-tower CLIP. It knows nothing of video or of prompts."""

from vitaclip.backbones.model import CLIP
from vitaclip.backbones.tokenizer import TokenBatch, Tokenizer

__all__ = ["CLIP", "TokenBatch", "Tokenizer"]
