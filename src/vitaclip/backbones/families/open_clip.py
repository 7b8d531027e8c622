"""What open_clip's `open_clip_config.json` tells; its weights go by OpenAI's names (`openai.py`)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vitaclip.backbones.config import CLIPConfig
from vitaclip.backbones.families.architecture import HEAD_WIDTH, read_architecture
from vitaclip.backbones.pixels import CLIP_PIXELS, PixelStatistics

# Settings that the weights themselves tell, or that change nothing about them.
TOLD_BY_WEIGHTS = frozenset(
    {"embed_dim", "layers", "width", "patch_size", "image_size", "mlp_ratio", "context_length", "vocab_size"}
    | {"head_width", "heads", "quick_gelu", "vision_cfg", "text_cfg", "custom_text", "init_logit_scale"}
    | {"output_dict", "patch_dropout", "output_tokens", "cast_dtype", "hf_tokenizer_name", "tokenizer_kwargs"}
)
# Settings that would change the mathematics, with the value that is CLIP's.
CLIPS_OWN: dict[str, Any] = {
    "ls_init_value": None,
    "attentional_pool": False,
    "no_ln_pre": False,
    "pos_embed_type": "learnable",
    "final_ln_after_pool": False,
    "pool_type": ("tok", "argmax"),
    "no_causal_mask": False,
    "embed_cls": False,
    "proj_bias": False,
    "proj_type": "linear",
    "init_logit_bias": None,
    "act_kwargs": (None, {}),
    "norm_kwargs": (None, {}),
    "timm_model_name": None,
    "hf_model_name": None,
    "multimodal_cfg": None,
}


def read_config(
    config: Mapping[str, Any], state: Mapping[str, Tensor], pixels: PixelStatistics = CLIP_PIXELS
) -> CLIPConfig:
    """What the weights do not tell, from an open_clip_config.json.

    Args:
        config: its content.
        state: the weights under our names.
        pixels: the pixel statistics that the folder tells.

    Raises:
        ValueError: if it asks for something that is not CLIP's mathematics.
    """
    model = config.get("model_cfg", config)
    vision, text = model.get("vision_cfg"), model.get("text_cfg")
    if not isinstance(vision, Mapping) or not isinstance(text, Mapping):
        raise ValueError("open_clip_config.json: no vision_cfg and text_cfg in it")
    for where, part in (("model_cfg", model), ("vision_cfg", vision), ("text_cfg", text)):
        for name, value in part.items():
            _check(where, name, value)
    width = state["vision.pos_embed"].shape[1]
    return read_architecture(
        state,
        "quick_gelu" if model.get("quick_gelu", False) else "gelu",
        vision_heads=width // vision.get("head_width", HEAD_WIDTH),
        text_heads=text.get("heads", 8),
        pixels=pixels,
    )


def _check(where: str, name: str, value: Any) -> None:
    if name in TOLD_BY_WEIGHTS:
        return
    allowed = CLIPS_OWN.get(name, ())
    if value not in (allowed if isinstance(allowed, tuple) else (allowed,)):
        raise ValueError(
            f"open_clip_config.json: {where}.{name} = {value!r} is not CLIP's plain vision transformer and text tower,"
            " the only ones supported"
        )
