"""Which format a file or folder with a CLIP is in, and how to read it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vitaclip.config import CLIPConfig, from_dict
from vitaclip.files import one_line
from vitaclip.weights import open_clip, openai, published, transformers
from vitaclip.weights.architecture import Activation, read_architecture
from vitaclip.weights.hub import WEIGHTS, find_weights
from vitaclip.weights.reading import read_state_dict

CONFIG_FILE, OPEN_CLIP_CONFIG_FILE = "config.json", "open_clip_config.json"
OURS = "vision.patch_embed.weight"
"""A key that every backbone written by `save_backbone` has and no other format."""


@dataclass(frozen=True)
class CLIPWeights:
    """A CLIP in our terms.

    Attributes:
        format: what it was read from.
        config: its architecture.
        state: its weights under our names, of any float type.
        folder: where its tokenizer would lie.
        trained: the prompts that came with it, if it is a published Vita-CLIP checkpoint.
    """

    format: str
    config: CLIPConfig
    state: dict[str, Tensor]
    folder: Path
    trained: published.Published | None = None


def read_clip(path: Path, activation: Activation | None = None) -> CLIPWeights:
    """Read a CLIP of any known format.

    Args:
        path: a weight file, or a folder with one and the config that belongs to it.
        activation: what the format does not tell; an error if it tells another.

    Raises:
        ValueError: if the format is unknown, a key is left over or missing, or the activation is neither told nor
            given.
    """
    file, folder = _weight_file(path)
    state = read_state_dict(file)
    if OURS in state:
        weights = CLIPWeights("vitaclip", from_dict(CLIPConfig, read_json(folder / CONFIG_FILE)), state, folder)
    elif transformers.SIGNATURE in state:
        ours = transformers.convert(state)
        config = transformers.read_config(read_json(folder / CONFIG_FILE), ours)
        weights = CLIPWeights("transformers", config, ours, folder)
    elif openai.SIGNATURE in state:
        weights = _read_openai(state, folder, activation)
    elif published.SIGNATURE in state:
        read = published.from_published(state)
        weights = CLIPWeights("published Vita-CLIP", read.clip_config, read.clip_state, folder, read)
    else:
        raise ValueError(
            f"{file}: not a CLIP of a known format (its first names are {sorted(state)[:3]}); known are those of"
            " OpenAI, open_clip, transformers' CLIPModel, the published Vita-CLIP code and this package"
        )
    if activation not in (None, weights.config.activation):
        raise ValueError(
            f"{file}: activation {activation!r} asked for, but these are {weights.format} weights trained with"
            f" {weights.config.activation!r}"
        )
    return weights


def _read_openai(state: Mapping[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    ours = openai.convert(state)
    if (folder / OPEN_CLIP_CONFIG_FILE).is_file():
        config = open_clip.read_config(read_json(folder / OPEN_CLIP_CONFIG_FILE), ours)
        return CLIPWeights("open_clip", config, ours, folder)
    if openai.OPENAI_ONLY in state:
        return CLIPWeights("OpenAI", read_architecture(ours, "quick_gelu"), ours, folder)
    if activation is None:
        raise ValueError(
            f"these weights do not tell their activation, and there is no {OPEN_CLIP_CONFIG_FILE} beside them: give"
            " activation 'quick_gelu' (weights of OpenAI, MetaCLIP, DFN) or 'gelu' (LAION, DataComp), e.g."
            " `vitaclip convert FILE OUT --activation gelu`, which writes a folder that tells it"
        )
    return CLIPWeights("open_clip", read_architecture(ours, activation), ours, folder)


def _weight_file(path: Path) -> tuple[Path, Path]:
    """The weight file and the folder that it lies in."""
    if path.is_file():
        return path, path.parent
    file = find_weights(path)
    if file is None:
        raise ValueError(f"{path}: no weights in it; one of these is looked for: {', '.join(WEIGHTS)}")
    return file, path


def read_json(path: Path) -> dict[str, Any]:
    """A config file.

    Raises:
        ValueError: if it is missing or no JSON object.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file, and the weights beside it need it; fetch it from where they are from")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({one_line(error)}); fetch it again") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: no settings in it; fetch it again")
    return values
