"""EVL (Lin et al., ECCV 2022): checkpoints of the published code. They hold the decoder and the classifier alone."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from vitaclip.backbones.families.family import CLIPWeights, Trained, register_family
from vitaclip.backbones.families.table import depth, drops_bias, same, to_ours

KEY = "decoder.cls_token"
TABLE = [
    *same(
        {
            "pool.token": KEY,
            "pool.layers.#.norm_query.*": "decoder.decoder_layers.#.norm1.*",
            "pool.layers.#.norm_mlp.*": "decoder.decoder_layers.#.norm2.*",
            "pool.layers.#.norm_tokens.*": "decoder.decoder_layers.#.norm3.*",
            "pool.layers.#.attention.query.*": "decoder.decoder_layers.#.attn.q_proj.*",
            "pool.layers.#.attention.value.*": "decoder.decoder_layers.#.attn.v_proj.*",
            "pool.layers.#.attention.out.*": "decoder.decoder_layers.#.attn.out_proj.*",
            "pool.layers.#.fc1.*": "decoder.decoder_layers.#.mlp.fc1.*",
            "pool.layers.#.fc2.*": "decoder.decoder_layers.#.mlp.fc2.*",
            "head.norm.*": "proj.0.*",
            "head.linear.*": "proj.2.*",
        }
    ),
    # A bias of all keys drops out of the softmax.
    drops_bias("pool.layers.#.attention.key", "decoder.decoder_layers.#.attn.k_proj"),
    *same({"pool.time.#.convolution.*": "decoder.temporal_conv.#.*"}, "convolution"),
    *same({"pool.time.#.positions": "decoder.temporal_pos_embed.#"}, "positions"),
    *same({"pool.time.#.motion.before": "decoder.cross_attention.#.w1"}, "motion"),
    *same({"pool.time.#.motion.after": "decoder.cross_attention.#.w2"}, "motion"),
]


def _settings(parts: Mapping[str, Tensor]) -> dict[str, Any]:
    """Which parts there are, read off the names and shapes of their values: fields of a `ModelConfig`."""
    width, hidden = len(parts["pool.token"]), len(parts["pool.layers.0.fc1.bias"])
    pool: dict[str, Any] = {"name": "decode", "blocks": depth(parts, "pool.layers."), "mlp_ratio": hidden / width}
    pool["width"] = len(parts["pool.layers.0.attention.query.bias"])
    for setting in ("convolution", "positions", "motion"):
        pool[setting] = any(name.startswith(f"pool.time.0.{setting}") for name in parts)
    positions = parts.get("pool.time.0.positions")
    num_frames = {} if positions is None else {"num_frames": len(positions)}
    return {"context": {}, "pool": pool, "head": "classifier", **num_frames}


@register_family("the published EVL code", KEY, first=True, lacks_backbone=True)
def complete(state: dict[str, Tensor], backbone: CLIPWeights) -> CLIPWeights:
    """The decoder and the classifier, on the frozen CLIP that they were trained on."""
    parts = to_ours(state, TABLE)
    vision, bins = backbone.config.vision, parts.get("pool.time.0.motion.before")
    width, side = len(parts["pool.token"]), vision.image_size // vision.patch_size
    if width != vision.width or (bins is not None and len(bins) != (2 * side - 1) ** 2):
        sides = "" if bins is None else f" and {round(len(bins) ** 0.5 + 1) // 2} patches a side"
        raise ValueError(
            f"this EVL was trained on a backbone of {width} channels{sides}, the one given has {vision.width} and"
            f" {side}; give the backbone it was trained on"
        )
    trained = Trained(_settings(parts), parts, num_classes=len(parts["head.linear.bias"]))
    return replace(backbone, trained=trained)
