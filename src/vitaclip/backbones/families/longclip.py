"""Long-CLIP (Zhang et al., ECCV 2024, arXiv 2403.15378): OpenAI's names, and positions for 248 tokens in two."""

from pathlib import Path

import torch
from torch import Tensor

from vitaclip.backbones.config import Activation
from vitaclip.backbones.families import openai
from vitaclip.backbones.families.family import CLIPWeights, read_architecture, register_family
from vitaclip.backbones.families.table import Row, without

KEY = "positional_embedding_res"
_KEPT = 20
"""Positions that stayed OpenAI's; those behind them were stretched and trained."""
TABLE = [
    *without(openai.TABLE, "text.pos_embed"),
    Row(
        ("text.pos_embed",),
        ("positional_embedding", KEY),
        lambda there: [torch.cat([there[0][:_KEPT], there[1][_KEPT:]])],
    ),
]


@register_family("Long-CLIP", KEY, first=True)
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    """A checkpoint of the published code, which is OpenAI's CLIP otherwise."""
    ours = openai.convert(state, TABLE)
    return CLIPWeights(read_architecture(ours), ours)
