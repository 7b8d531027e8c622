"""Backbones on disk: a folder with config.json, model.safetensors and tokenizer.json."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from vitaclip.clip import CLIP, Tokenizer
from vitaclip.config import CLIPConfig, from_dict, to_dict
from vitaclip.files import write_json, write_safetensors, write_text
from vitaclip.weights.fingerprint import fingerprint
from vitaclip.weights.shipped import BACKBONES, shipped_backbone

CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE = "config.json", "model.safetensors", "tokenizer.json"


@dataclass(frozen=True)
class Backbone:
    """A CLIP with the tokenizer it was trained with, the name it was asked for by, and its fingerprint."""

    clip: CLIP
    tokenizer: Tokenizer
    name: str
    fingerprint: str


def save_backbone(clip: CLIP, tokenizer: Tokenizer, folder: str | Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write a backbone folder; `dtype` is the precision of the stored weights."""
    folder = Path(folder)
    write_safetensors(folder / WEIGHTS_FILE, {name: t.to(dtype) for name, t in clip.state_dict().items()})
    write_text(folder / TOKENIZER_FILE, tokenizer.to_json())
    write_json(folder / CONFIG_FILE, to_dict(clip.config))
    return folder


def load_backbone(name_or_folder: str | Path) -> Backbone:
    """Load `miniature` (shipped with the package) or a backbone folder, in float32.

    Raises:
        ValueError: if the name is unknown, a file is missing, or the weights do not fit the config.
    """
    name = str(name_or_folder)
    folder = shipped_backbone(name) or Path(name)
    missing = [part for part in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE) if not (folder / part).is_file()]
    if missing:
        raise ValueError(
            f"backbone {name!r}: no {', '.join(missing)} in it; give a folder written by save_backbone"
            f" or one of: {', '.join(BACKBONES)}"
        )
    try:
        config = from_dict(CLIPConfig, json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")))
        clip = CLIP(config)
        clip.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (RuntimeError, json.JSONDecodeError) as error:
        raise ValueError(f"backbone {name!r}: the weights do not fit the config: {error}") from error
    tokenizer = Tokenizer.from_file(folder / TOKENIZER_FILE)
    return Backbone(clip.eval(), tokenizer, name, fingerprint(clip))
