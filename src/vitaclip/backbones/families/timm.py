"""Image towers of timm in the files of open_clip: SigLIP, SigLIP 2, PE-Core, EVA-01, EVA-02, MobileCLIP2-L."""

from pathlib import Path

from torch import Tensor

from vitaclip.backbones.config import Activation
from vitaclip.backbones.families import openai
from vitaclip.backbones.families.family import CLIPWeights, register_family
from vitaclip.backbones.families.open_clip import with_options
from vitaclip.backbones.families.open_clip_config import read_config, read_settings
from vitaclip.backbones.families.table import fused, layer, leading_axis, reshaped, same, single_query, transposed

KEY = "visual.trunk.patch_embed.proj.weight"
_BLOCK, _POOL = "visual.trunk.blocks.#", "visual.trunk.attn_pool"
VISION = [
    layer("vision.patch_embed", "visual.trunk.patch_embed.proj"),
    reshaped("vision.cls_embed", "visual.trunk.cls_token", (-1,), "class token"),
    leading_axis("vision.pos_embed", "visual.trunk.pos_embed"),
    *same({"vision.norm_pre.*": "visual.trunk.norm_pre.*"}, "norm_pre"),
    *same({"vision.norm_post.*": "visual.trunk.norm.*"}),
    # q, k and v are one matrix with or without a bias, or apart; the keys of EVA have no bias.
    *same({"vision.blocks.#.attention.qkv.weight": f"{_BLOCK}.attn.qkv.weight"}, "matrix"),
    *same({"vision.blocks.#.attention.qkv.bias": f"{_BLOCK}.attn.qkv.bias"}, "bias"),
    fused("vision.blocks.#.attention.qkv.bias", f"{_BLOCK}.attn.{{}}_bias", "biases", optional="k"),
    fused("vision.blocks.#.attention.qkv.weight", f"{_BLOCK}.attn.{{}}_proj.weight", "apart"),
    fused("vision.blocks.#.attention.qkv.bias", f"{_BLOCK}.attn.{{}}_proj.bias", "apart", optional="k"),
    *same({"vision.blocks.#.attention.inner_norm.*": f"{_BLOCK}.attn.norm.*"}, "attention norm"),
    *same({"vision.blocks.#.attention.out.*": f"{_BLOCK}.attn.proj.*"}),
    *same({f"vision.blocks.#.{norm}.*": f"{_BLOCK}.{norm}.*" for norm in ("norm1", "norm2")}),
    *same({"vision.blocks.#.mlp.fc1.*": f"{_BLOCK}.mlp.fc1.*"}, "plain"),
    *same({"vision.blocks.#.mlp.gate.*": f"{_BLOCK}.mlp.fc1_g.*"}, "gated"),
    *same({"vision.blocks.#.mlp.fc1.*": f"{_BLOCK}.mlp.fc1_x.*"}, "gated"),
    *same({"vision.blocks.#.mlp.inner_norm.*": f"{_BLOCK}.mlp.norm.*"}, "mlp norm"),
    *same({"vision.blocks.#.mlp.fc2.*": f"{_BLOCK}.mlp.fc2.*"}),
    reshaped("vision.pool.probe", f"{_POOL}.latent", (-1,), "pool"),
    *same({"vision.pool.attention.query.*": f"{_POOL}.q.*", "vision.pool.attention.out.*": f"{_POOL}.proj.*"}, "pool"),
    single_query("vision.pool.attention", f"{_POOL}.kv.", "key value", "pool"),
    *same({f"vision.pool.{name}.*": f"{_POOL}.{name}.*" for name in ("norm", "mlp.fc1", "mlp.fc2")}, "pool"),
    transposed("vision.proj", "visual.trunk.head.weight", "head"),
    *same({"vision.proj_bias": "visual.trunk.head.bias"}, "head"),
]
_TEXT = [row for row in openai.TABLE if not row.ours[0].startswith("vision.")]


@register_family("open_clip with an image tower of timm", KEY)
def read(state: dict[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    """Weights with their open_clip_config.json, which names timm's tower."""
    model = read_settings(folder)
    ours = openai.convert(state, [*VISION, *with_options(_TEXT)])
    return CLIPWeights(read_config(folder, model, ours), ours)
