"""What open_clip's `open_clip_config.json` tells of a model, whose weights go by OpenAI's names (`openai.py`); those of
an image tower of timm by that library's (`timm.py`).

Every setting that changes the mathematics becomes an option of ours or is refused.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from vitaclip.backbones.config import CLIPConfig, TextLayoutConfig
from vitaclip.backbones.families.architecture import HEAD_WIDTH, read_architecture
from vitaclip.backbones.families.family import read_config_file
from vitaclip.backbones.families.table import Row, optional, same, transposed
from vitaclip.backbones.pixels import OPEN_CLIP_CONFIG_FILE, open_clip_pixels

Settings = Mapping[str, Any]
TOLD_BY_WEIGHTS = frozenset(
    {"embed_dim", "width", "patch_size", "mlp_ratio", "context_length", "vocab_size", "custom_text", "output_dict"}
    | {"init_logit_scale", "init_logit_bias", "patch_dropout", "output_tokens", "cast_dtype", "timm_drop"}
    | {"timm_drop_path", "timm_model_pretrained", "timm_model_kwargs", "attn_pooler_heads"}
)
"""Settings that the weights tell, or that change nothing about them."""
_SIGLIP = {"norm_epsilon": 1e-6, "pool": "attention"}
_EVA = {"norm_epsilon": 1e-6}
TIMM_TOWERS: dict[str, dict[str, Any]] = {
    "vit_so400m_patch16_siglip": {**_SIGLIP, "activation": "gelu_tanh"},
    "vit_giantopt_patch16_siglip": {**_SIGLIP, "activation": "gelu_tanh"},
    "vit_base_patch32_siglip": {**_SIGLIP, "activation": "gelu_tanh"},
    "vit_large_patch16_siglip_512": {**_SIGLIP, "activation": "gelu_tanh"},
    "vit_base_patch16_siglip": {**_SIGLIP, "activation": "gelu"},
    "vit_large_patch16_siglip": {**_SIGLIP, "activation": "gelu"},
    "vit_so400m_patch14_siglip": {**_SIGLIP, "activation": "gelu"},
    "vit_pe_core": {"activation": "gelu", "rope": "pe", "pool": "attention", "pool_heads": 8},
    "eva02_base": {**_EVA, "activation": "silu", "rope": "eva02"},
    "eva02_large": {**_EVA, "activation": "silu", "rope": "eva02"},
    "eva_giant": {**_EVA, "activation": "gelu"},
    "vit_large_patch14_clip": {"activation": "gelu"},
}
"""What timm's name of a tower tells and its weights do not; the first name that it starts with counts. timm computes
some sizes of SigLIP with the exact GELU and others with its approximation by tanh, on weights of the latter."""
UNDERSTOOD: dict[str, dict[str, Any]] = {
    "model_cfg": {"quick_gelu": bool, "vision_cfg": Mapping, "text_cfg": Mapping},
    "vision_cfg": {
        **{"image_size": int, "layers": int, "head_width": int, "timm_model_name": TIMM_TOWERS, "norm_kwargs": Mapping},
        **{"no_ln_pre": bool, "final_ln_after_pool": bool, "pool_type": ("tok", "avg"), "act_kwargs": ({},)},
        **{"timm_pool": ("token", "map"), "timm_proj": (None, "none"), "attentional_pool": (False,)},
        "pos_embed_type": ("learnable",),
    },
    "text_cfg": {
        **{"heads": int, "layers": int, "hf_tokenizer_name": str, "tokenizer_kwargs": Mapping, "norm_kwargs": Mapping},
        **{"no_causal_mask": bool, "proj_bias": bool, "pool_type": ("argmax", "eos", "last"), "eos_id": int},
        **{"proj_type": ("linear", "none"), "act_kwargs": Mapping, "tokenizer_mode": ("clips",), "embed_cls": (False,)},
    },
}
"""Settings that become options here, and the values that they may have, or their type, or how they may start."""
REASONS = {
    "layers": "a ResNet, whose feature maps are no tokens that prompts could go to",
    "timm_model_name": "only plain vision transformers are built, whose blocks see one sequence of tokens: no"
    " convolutions, windows, variable grids (NaFlex), nor norms after the branch",
    "hf_model_name": "a text tower with the blocks of BERT or T5, which are not built",
    "multimodal_cfg": "CoCa's decoder of texts is not built",
    "attentional_pool": "CoCa's pool is not built",
    "embed_cls": "CoCa's token behind the text is not built",
    "ls_init_value": "layer scale is not built",
    "audio_cfg": "a model of sound, not of images",
}


def with_options(rows: Sequence[Row]) -> list[Row]:
    """OpenAI's table for all that open_clip saves under its names: the norm before the blocks may be missing, and the
    projection of texts may be a matrix, a layer with or without a bias, or missing."""
    matrix = same({"text.proj": "text_projection"}, "text matrix")
    layer = [transposed("text.proj", "text_projection.weight", "text layer")]
    bias = same({"text.proj_bias": "text_projection.bias"}, "text bias")
    others = [row for row in rows if row.ours != ("text.proj",)]
    logit_bias = same({"logit_bias": "logit_bias"}, "logit_bias")
    return [*optional(others, "vision.norm_pre.*"), *matrix, *layer, *bias, *logit_bias]


def read_settings(folder: Path) -> Settings:
    """The `model_cfg` of a folder's open_clip_config.json, all of whose settings are understood.

    Raises:
        ValueError: for one that is not, with the reason.
    """
    config = read_config_file(folder / OPEN_CLIP_CONFIG_FILE)
    model: Settings = config.get("model_cfg", config)
    for name in ("model_cfg", "vision_cfg", "text_cfg"):
        part = model if name == "model_cfg" else model.get(name)
        if not isinstance(part, Mapping):
            raise ValueError(f"{OPEN_CLIP_CONFIG_FILE}: no vision_cfg and text_cfg in it, so no image-text model")
        for setting, value in part.items():
            if setting not in TOLD_BY_WEIGHTS and not _is_understood(UNDERSTOOD[name].get(setting, (None,)), value):
                reason = REASONS.get(setting, "this setting is not understood, and might change the mathematics")
                raise ValueError(f"{OPEN_CLIP_CONFIG_FILE}: {name}.{setting} = {value!r}: {reason}")
    return model


def read_config(folder: Path, model: Settings, state: Mapping[str, Tensor]) -> CLIPConfig:
    """The config of weights, which go by our names, with what `read_settings` told of them."""
    vision, text = model["vision_cfg"], model["text_cfg"]
    image_size = {"image_size": vision["image_size"]} if "image_size" in vision else {}
    read_vision = _read_timm if "timm_model_name" in vision else _read_own_vision
    told = {**image_size, **read_vision(vision, model)}
    return read_architecture(state, told, _read_text(text, model), open_clip_pixels(folder))


def _read_own_vision(vision: Settings, model: Settings) -> dict[str, Any]:
    """Of open_clip's own vision transformer."""
    pool = "mean" if vision.get("pool_type") == "avg" else "class"
    if (pool == "mean") != vision.get("final_ln_after_pool", False):
        raise ValueError("open_clip_config.json: the norm must come after a mean of patches, and before a class token")
    return {
        "activation": "quick_gelu" if model.get("quick_gelu") else "gelu",
        "heads": vision["width"] // vision.get("head_width", HEAD_WIDTH),
        "norm_epsilon": _epsilon(vision),
        "norm_pre": not vision.get("no_ln_pre", False),
        "pool": pool,
    }


def _read_timm(vision: Settings, model: Settings) -> dict[str, Any]:
    """Of a tower of timm, by its name. Heads in `timm_model_kwargs` win over those of the name."""
    told = next(told for start, told in TIMM_TOWERS.items() if vision["timm_model_name"].startswith(start))
    heads = (vision.get("timm_model_kwargs") or {}).get("num_heads", 0)
    return {"heads": heads, "projection": "none" if vision.get("timm_proj") == "none" else "bias"} | told


def _read_text(text: Settings, model: Settings) -> dict[str, Any]:
    tanh = (text.get("act_kwargs") or {}).get("approximate") == "tanh"
    projection = "bias" if text.get("proj_bias", False) else "plain"
    return {
        "activation": "quick_gelu" if model.get("quick_gelu") else "gelu_tanh" if tanh else "gelu",
        "heads": text.get("heads", 8),
        "norm_epsilon": _epsilon(text),
        "order": "all" if text.get("no_causal_mask") else "causal",
        "projection": "none" if text.get("proj_type") == "none" else projection,
        "layout": _read_layout(text),
    }


def _read_layout(text: Settings) -> TextLayoutConfig:
    """CLIP's, unless the way to pool or the tokenizer say that it is another family's."""
    special = text.get("tokenizer_kwargs") or {}
    clean: Literal["canonicalize", "none"] = "canonicalize" if special.get("clean") == "canonicalize" else "none"
    if text.get("pool_type") == "eos":  # MetaCLIP 2, with the tokenizer of XLM-V or of mT5
        end = text["eos_id"]
        return TextLayoutConfig(start=(0,) if end == 2 else (), end=(end,), pad=1 if end == 2 else 0, clean=clean)
    if text.get("pool_type") != "last":
        return TextLayoutConfig()
    if text.get("tokenizer_mode") == "clips":  # OpenVision
        return TextLayoutConfig(start=(1,), end=(2,), last=101, feature="last", clean=clean)
    if special.get("strip_sep_token"):  # CLIPA: the end token becomes 0
        return TextLayoutConfig(start=(101,), end=(0,), feature="last", clean=clean)
    second = "siglip2" in text.get("hf_tokenizer_name", "").lower()
    return TextLayoutConfig(start=(), end=(1,), pad=0 if second else 1, feature="last", clean=clean)


def _epsilon(tower: Settings) -> float:
    return float((tower.get("norm_kwargs") or {}).get("eps", 1e-5))


def _is_understood(allowed: Any, value: Any) -> bool:
    if isinstance(allowed, Mapping):
        return isinstance(value, str) and value.startswith(tuple(allowed))
    return value in allowed if isinstance(allowed, tuple) else isinstance(value, allowed)
