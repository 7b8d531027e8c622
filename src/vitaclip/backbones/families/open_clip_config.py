"""What open_clip's config tells of a model. `open_clip.yaml` lists the settings that are understood."""

import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from vitaclip.backbones.config import CLIPConfig, TextLayoutConfig
from vitaclip.backbones.families.family import HEAD_WIDTH, read_architecture, read_config_file, told_sizes
from vitaclip.backbones.pixels import OPEN_CLIP_CONFIG_FILE, open_clip_pixels
from vitaclip.untrusted import read_yaml

Settings = Mapping[str, Any]
FACTS = read_yaml(Path(str(files("vitaclip.backbones"))) / "open_clip.yaml")
"""What its settings mean here, and why the others are refused."""
_TYPES: dict[str, Any] = {"bool": bool, "int": int, "str": str, "map": Mapping}


def read_settings(folder: Path) -> Settings:
    """The `model_cfg` of a folder's open_clip_config.json, all of whose settings are understood."""
    config = read_config_file(folder / OPEN_CLIP_CONFIG_FILE)
    model: Settings = config.get("model_cfg", config)
    for name, understood in FACTS["understood"].items():
        part = model if name == "model_cfg" else model.get(name)
        if not isinstance(part, Mapping):
            raise ValueError(f"{OPEN_CLIP_CONFIG_FILE}: no vision_cfg and text_cfg in it, so no image-text model")
        for setting, value in part.items():
            told = setting in FACTS["told_by_weights"]
            if not told and not _is_understood(understood.get(setting, [None]), value):
                reason = FACTS["reasons"].get(
                    setting, "this setting is not understood, and might change the mathematics"
                )
                raise ValueError(f"{OPEN_CLIP_CONFIG_FILE}: {name}.{setting} = {value!r}: {reason}")
    return model


def read_config(folder: Path, model: Settings, state: Mapping[str, Tensor]) -> CLIPConfig:
    """The config of weights, which go by our names, with what `read_settings` told of them."""
    vision, text = model["vision_cfg"], model["text_cfg"]
    image_size = {"image_size": vision["image_size"]} if "image_size" in vision else {}
    read_vision = _read_timm if "timm_model_name" in vision else _read_own_vision
    told = {**image_size, **read_vision(vision, model)}
    if told.get("rope") == "pe":
        told["rope_side"] = math.isqrt(len(state["vision.pos_embed"]))  # timm stretches, see `VisionConfig`
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
        **told_sizes(vision),
    }


def _read_timm(vision: Settings, model: Settings) -> dict[str, Any]:
    """Of a tower of timm, by its name. Heads in `timm_model_kwargs` win over those of the name."""
    told = next(told for name, told in FACTS["timm_towers"].items() if vision["timm_model_name"].startswith(name))
    given = vision.get("timm_model_kwargs") or {}
    projection = "none" if vision.get("timm_proj") == "none" else "bias"
    return {"heads": given.get("num_heads", 0), "projection": projection, **told_sizes(given), **told}


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
        **told_sizes(text),
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
    if allowed == "tower":
        return isinstance(value, str) and value.startswith(tuple(FACTS["timm_towers"]))
    return value in allowed if isinstance(allowed, list) else isinstance(value, _TYPES[allowed])
