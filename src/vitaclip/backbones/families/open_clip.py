"""What open_clip's `open_clip_config.json` tells; its weights go by OpenAI's names (`openai.py`)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vitaclip.backbones.config import CLIPConfig, PixelConfig
from vitaclip.backbones.families.architecture import HEAD_WIDTH, read_architecture

# Settings that the weights themselves tell, or that change nothing about them.
TOLD_BY_WEIGHTS = frozenset(
    {"embed_dim", "layers", "width", "patch_size", "image_size", "mlp_ratio", "context_length", "vocab_size"}
    | {"head_width", "heads", "quick_gelu", "vision_cfg", "text_cfg", "custom_text", "init_logit_scale"}
    | {"output_dict", "patch_dropout", "output_tokens", "cast_dtype", "hf_tokenizer_name", "tokenizer_kwargs"}
)
# Settings that would change the mathematics, with the values that are CLIP's.
CLIPS_OWN: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(
        ("ls_init_value", "init_logit_bias", "timm_model_name", "hf_model_name", "multimodal_cfg"), (None,)
    ),
    **dict.fromkeys(("attentional_pool", "no_ln_pre", "final_ln_after_pool", "no_causal_mask", "embed_cls"), (False,)),
    **dict.fromkeys(("act_kwargs", "norm_kwargs"), (None, {})),
    "proj_bias": (False,),
    "pos_embed_type": ("learnable",),
    "pool_type": ("tok", "argmax"),
    "proj_type": ("linear",),
}


def read_config(config: Mapping[str, Any], state: Mapping[str, Tensor], pixels: PixelConfig) -> CLIPConfig:
    """What the weights, which go by our names, do not tell, from the content of an open_clip_config.json. What is not
    CLIP's mathematics is refused."""
    model = config.get("model_cfg", config)
    vision, text = model.get("vision_cfg"), model.get("text_cfg")
    if not isinstance(vision, Mapping) or not isinstance(text, Mapping):
        raise ValueError("open_clip_config.json: no vision_cfg and text_cfg in it")
    for where, part in (("model_cfg", model), ("vision_cfg", vision), ("text_cfg", text)):
        for name, value in part.items():
            if name not in TOLD_BY_WEIGHTS and value not in CLIPS_OWN.get(name, ()):
                raise ValueError(
                    f"open_clip_config.json: {where}.{name} = {value!r} is not CLIP's plain vision transformer and text"
                    " tower, the only ones supported"
                )
    activation = "quick_gelu" if model.get("quick_gelu", False) else "gelu"
    heads = state["vision.pos_embed"].shape[1] // vision.get("head_width", HEAD_WIDTH)
    told = {"activation": activation, "heads": text.get("heads", 8)}
    return read_architecture(state, {"activation": activation, "heads": heads}, told, pixels)
