"""Which format a file or folder with a CLIP is in, and how to read it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from vitaclip.backbones import CLIP
from vitaclip.backbones.config import CLIPConfig
from vitaclip.backbones.families import open_clip, openai, published, transformers
from vitaclip.backbones.families.architecture import Activation, read_architecture
from vitaclip.backbones.hub import WEIGHTS, find_weights
from vitaclip.backbones.pixels import OPEN_CLIP_CONFIG_FILE, PixelStatistics, open_clip_pixels, transformers_pixels
from vitaclip.backbones.reading import check_dtypes, open_state, to_float32
from vitaclip.settings import from_dict
from vitaclip.untrusted import read_json, reading, summary

CONFIG_FILE = "config.json"
OURS = "vision.patch_embed.weight"
"""A key that every backbone written by `save_backbone` has and no other format."""
SIGNATURES = (OURS, transformers.SIGNATURE, openai.SIGNATURE, published.SIGNATURE)


@dataclass(frozen=True)
class CLIPWeights:
    """A CLIP in our terms.

    Attributes:
        format: what it was read from.
        config: its architecture.
        state: its weights under our names, float32 and finite.
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

    The format, the config and all shapes are judged before a number is read, so that a file which is no CLIP, or which
    claims to be an enormous one, takes no memory.

    Args:
        path: a weight file, or a folder with one and the config that belongs to it.
        activation: what the format does not tell; an error if it tells another.

    Raises:
        ValueError: if the format is unknown, a key is left over or missing, shapes and config do not fit, a number is
            not finite, or the activation is neither told nor given.
    """
    file, folder = _weight_file(path)
    opened = open_state(file)
    with reading(file):
        planned = _interpret(file, folder, opened.shapes, activation)
        check_dtypes(file, planned.state)
        try:
            CLIP.from_state(planned.config, planned.state)
        except RuntimeError as error:
            raise ValueError(f"{file}: weights and config do not fit ({summary(error)})") from error
        weights = _interpret(file, folder, opened.read(), activation)
        to_float32(file, weights.state)
        if weights.trained is not None:
            to_float32(file, weights.trained.adapter_state)
    return weights


def _interpret(file: Path, folder: Path, named: dict[str, Tensor], activation: Activation | None) -> CLIPWeights:
    """The weights of a file in our terms; they may be on the `meta` device."""
    state = _without_prefix(file, named)
    if OURS in state:
        weights = CLIPWeights("vitaclip", _read_own_config(folder / CONFIG_FILE, state), state, folder)
    elif transformers.SIGNATURE in state:
        ours = transformers.convert(state)
        config = transformers.read_config(read_config_file(folder / CONFIG_FILE), ours, transformers_pixels(folder))
        weights = CLIPWeights("transformers", config, ours, folder)
    elif openai.SIGNATURE in state:
        weights = _read_openai(state, folder, activation)
    else:
        read = published.from_published(state)
        weights = CLIPWeights("published Vita-CLIP", read.clip_config, read.clip_state, folder, read)
    if activation not in (None, weights.config.activation):
        raise ValueError(
            f"{file}: activation {activation!r} asked for, but these are {weights.format} weights trained with"
            f" {weights.config.activation!r}"
        )
    return weights


def _without_prefix(file: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights without what stands before all of their names, such as `model.` in checkpoints of Lightning."""
    if any(signature in state for signature in SIGNATURES):
        return state
    found = [(name, signature) for name in state for signature in SIGNATURES if name.endswith(f".{signature}")]
    if len(found) != 1:
        raise ValueError(
            f"{file}: not a CLIP of a known format (its first names are {sorted(state)[:3]}); known are those of"
            " OpenAI, open_clip, transformers' CLIPModel, the published Vita-CLIP code and this package"
        )
    prefix = found[0][0].removesuffix(found[0][1])
    others = sorted(name for name in state if not name.startswith(prefix))
    if others:
        raise ValueError(
            f"{file}: its CLIP has {prefix!r} before its names, but there are {len(others)} others {others[:3]};"
            " save the CLIP's state_dict() alone"
        )
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _read_own_config(file: Path, state: Mapping[str, Tensor]) -> CLIPConfig:
    """The config of a backbone of ours. It must say what the shapes of the weights say, before anything is built."""
    with reading(file):
        told = from_dict(CLIPConfig, read_config_file(file))
        heads = {"vision_heads": told.vision.heads, "text_heads": told.text.heads}
        pixels = PixelStatistics(told.pixel_mean, told.pixel_std)
        held = read_architecture(state, told.activation, **heads, pixels=pixels)
        # The ratio is a quotient, which may be rounded; the shapes are compared with the hidden width later.
        held = replace(held, vision=replace(held.vision, mlp_ratio=told.vision.mlp_ratio))
        if told != held:
            raise ValueError(f"{file}: does not fit the weights beside it: it says {told}, they hold {held}")
    return told


def _read_openai(state: Mapping[str, Tensor], folder: Path, activation: Activation | None) -> CLIPWeights:
    ours = openai.convert(state)
    if (folder / OPEN_CLIP_CONFIG_FILE).is_file():
        config = open_clip.read_config(read_config_file(folder / OPEN_CLIP_CONFIG_FILE), ours, open_clip_pixels(folder))
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
    if not path.is_dir():
        return path, path.parent
    file = find_weights(path)
    if file is None:
        raise ValueError(f"{path}: no weights in it; one of these is looked for: {', '.join(WEIGHTS)}")
    return file, path


def read_config_file(path: Path) -> dict[str, Any]:
    """A config file that weights need.

    Raises:
        ValueError: if it is missing or no JSON object.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file, and the weights beside it need it; fetch it from where they are from")
    return read_json(path)
