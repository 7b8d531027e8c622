"""Backbones on disk: a folder with config.json, model.safetensors and tokenizer.json."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vitaclip.clip import CLIP, Tokenizer
from vitaclip.config import CLIPConfig, from_dict, to_dict
from vitaclip.files import one_line, write_json, write_safetensors, write_text
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
    if not name:
        raise ValueError(
            "model.backbone is not set; give a folder written by save_backbone"
            " (the shipped `miniature` knows only the demo's world of shapes)"
        )
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
    except (RuntimeError, SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"backbone {name!r}: damaged, or weights and config do not fit ({one_line(error)})") from error
    tokenizer = Tokenizer.from_file(folder / TOKENIZER_FILE)
    if tokenizer.vocab_size > config.text.vocab_size:
        raise ValueError(
            f"backbone {name!r}: its tokenizer has {tokenizer.vocab_size} ids, its text tower {config.text.vocab_size};"
            f" put the {TOKENIZER_FILE} there that belongs to the weights"
        )
    return Backbone(clip.eval(), tokenizer, name, fingerprint(clip))
