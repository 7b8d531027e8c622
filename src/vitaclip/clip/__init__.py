"""The frozen two-tower CLIP. It knows nothing of video or of prompts."""

from vitaclip.clip.model import CLIP
from vitaclip.clip.tokenizer import TokenBatch, Tokenizer

__all__ = ["CLIP", "TokenBatch", "Tokenizer"]
