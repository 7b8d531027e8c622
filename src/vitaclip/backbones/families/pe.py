"""PE-Core (Bolya et al., 2025, arXiv 2504.13181): the `.pt` files of the published code, OpenAI's names and a pool."""

from pathlib import Path

from torch import Tensor

from vitaclip.backbones.config import Activation, PixelConfig
from vitaclip.backbones.families import openai
from vitaclip.backbones.families.family import CLIPWeights, read_architecture, register_family
from vitaclip.backbones.families.table import optional, reshaped, same, single_query

KEY = "visual.attn_pool.probe"
_POOL = "visual.attn_pool"
TABLE = [
    *optional(openai.TABLE, "vision.cls_embed"),
    reshaped("vision.pool.probe", KEY, (-1,)),
    single_query("vision.pool.attention", f"{_POOL}.attn.in_proj_"),
    *same(
        {
            "vision.pool.attention.out.*": f"{_POOL}.attn.out_proj.*",
            "vision.pool.norm.*": f"{_POOL}.layernorm.*",
            "vision.pool.mlp.fc1.*": f"{_POOL}.mlp.c_fc.*",
            "vision.pool.mlp.fc2.*": f"{_POOL}.mlp.c_proj.*",
        }
    ),
]
PIXELS = PixelConfig(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), fit="squash", interpolation="bilinear")


@register_family("PE-Core", KEY, first=True)
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    """A file of weights alone: heads follow from the width, and the pool has 8 in all sizes."""
    ours = openai.convert(state, TABLE)
    vision = {"activation": "gelu", "rope": "pe", "pool": "attention", "pool_heads": 8, "resample": "bilinear"}
    return CLIPWeights(read_architecture(ours, vision, {"activation": "gelu"}, PIXELS), ours)
