"""Backbones: a CLIP with its tokenizer, from wherever it is and in whatever format, and to a folder of ours."""

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitaclip.backbones.config import Activation, TextConfig
from vitaclip.backbones.families.family import CONFIG_FILE, CLIPWeights, Family, families
from vitaclip.backbones.families.open_clip_config import read_settings
from vitaclip.backbones.hub import WEIGHTS, find_weights, locate
from vitaclip.backbones.known import licence_notice
from vitaclip.backbones.model import CLIP
from vitaclip.backbones.pixels import OPEN_CLIP_CONFIG_FILE
from vitaclip.backbones.reading import check_dtypes, open_state, to_float32
from vitaclip.backbones.tokenizer import TOKENIZER_FILES, Tokenizer, read_vocabulary
from vitaclip.backbones.vocabulary import CLIP_MERGES
from vitaclip.files import write_json, write_safetensors
from vitaclip.settings import to_dict
from vitaclip.strings import one_line
from vitaclip.untrusted import reading


def read_clip(
    path: Path,
    activation: Activation | None = None,
    backbone: CLIPWeights | None = None,
    *,
    before: Callable[[CLIPWeights], object] = lambda planned: None,
) -> CLIPWeights:
    """Read a CLIP of any known format.

    The format, the config and all shapes are judged before a number is read, so that a file which is no CLIP, or which
    claims to be an enormous one, takes no memory.

    Args:
        path: a weight file, or a folder with one and the config that belongs to it.
        activation: what the format does not tell; an error if it tells another.
        backbone: what a checkpoint was trained on, if it lacks that; an error for any other file.
        before: called with the weights while they are still on the `meta` device, to refuse what else is wrong before
            gigabytes are read.
    """
    file = find_weights(path) if path.is_dir() else path
    if file is None:
        raise ValueError(f"{path}: no weights in it; one of these is looked for: {', '.join(WEIGHTS)}")
    opened = open_state(file)
    with reading(file):
        planned = _interpret(file, opened.shapes, activation, backbone)
        check_dtypes(planned.state)
        try:
            CLIP.from_state(planned.config, planned.state)
        except RuntimeError as error:
            raise ValueError(f"{file}: weights and config do not fit ({one_line(error)})") from error
        before(planned)
        weights = _interpret(file, opened.read(), activation, backbone)
        to_float32(weights.state)
        if weights.trained is not None:
            to_float32(weights.trained.adapter_state)
    return weights


def _interpret(
    file: Path, named: dict[str, Tensor], activation: Activation | None, backbone: CLIPWeights | None
) -> CLIPWeights:
    """The weights of a file in our terms; they may be on the `meta` device."""
    state = _without_prefix(file, named)
    family = next(each for each in families() if each.key in state)
    if family.lacks_backbone:
        if backbone is None:
            raise ValueError(
                f"{file}: weights of {family.name} without the backbone they were trained on; name that, e.g."
                " backbone='openai/clip-vit-base-patch16' (--backbone on the command line)"
            )
        return _read_as(family, file, state, backbone)
    if backbone is not None:
        raise ValueError(
            f"{file}: holds its own backbone, so there is no other one to give it; leave it out, or name this file"
        )
    weights = replace(_read_as(family, file, state, file.parent, activation), folder=file.parent)
    trained_with = weights.config.vision.activation
    if activation not in (None, trained_with):
        raise ValueError(
            f"{file}: activation {activation!r} asked for, but these weights were trained with {trained_with!r}"
        )
    return weights


def _read_as(family: Family, file: Path, *given: Any) -> CLIPWeights:
    try:
        return family.read(*given)
    except ValueError as error:
        raise ValueError(f"{file}: read as weights of {family.name}: {error}") from error


def _without_prefix(file: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights without what stands before all of their names, such as `model.` in checkpoints of Lightning."""
    if any(family.key in state for family in families()):
        return state
    found = [(name, each.key) for name in state for each in families() if name.endswith(f".{each.key}")]
    if len(found) != 1:
        if (file.parent / OPEN_CLIP_CONFIG_FILE).is_file():
            read_settings(file.parent)  # says what of the model is not built
        raise ValueError(
            f"{file}: not a CLIP of a known format (its first names are {sorted(state)[:3]}); {_near_families(state)}"
        )
    prefix = found[0][0].removesuffix(found[0][1])
    others = sorted(name for name in state if not name.startswith(prefix))
    if others:
        raise ValueError(
            f"{file}: its CLIP has {prefix!r} before its names, but there are {len(others)} others {others[:3]};"
            " save the CLIP's state_dict() alone"
        )
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _near_families(state: Mapping[str, Tensor]) -> str:
    """Which families have a key that is like one of the file's names; all of them if none has."""
    near = [
        f"{family.name} ({family.key!r} where it has {name!r})"
        for family in families()
        for name in get_close_matches(family.key, islice(state, 2000), n=1, cutoff=0.75)
    ]
    if near:
        return f"near are {', '.join(near)}"
    return f"known are those of {', '.join(family.name for family in families())}"


WEIGHTS_FILE = "model.safetensors"
CLIP_VOCABULARY = 49408
"""Entries of the byte-pair vocabulary that all CLIPs of OpenAI and nearly all of open_clip share."""


@dataclass(frozen=True)
class Backbone:
    """A CLIP with the tokenizer it was trained with, the name it was asked for by, and its fingerprint."""

    clip: CLIP
    tokenizer: Tokenizer
    name: str
    fingerprint: str


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """A short name for the towers of a CLIP's state dict, so that prompts are never put on a backbone they were not
    trained with, and damage of a backbone folder is noticed.

    The first 16 hex digits of a SHA-256 over every tensor's name, shape and float32 values. The temperature is left
    out: prompts bring their own, and a checkpoint of a trained model no longer has CLIP's.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        if name != "logit_scale":
            digest.update(f"{name}:{tuple(tensor.shape)}:".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def save_backbone(clip: CLIP, tokenizer: Tokenizer, folder: str | Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write a backbone folder; `dtype` is the precision of the stored weights."""
    folder, own = Path(folder), tokenizer.vocabulary.file_name
    for other in TOKENIZER_FILES[: TOKENIZER_FILES.index(own)]:
        if (folder / other).is_file():
            raise ValueError(
                f"{folder}: holds a {other}, which would be read in place of this backbone's {own}; remove it, or write"
                " to another folder"
            )
    state = {name: t.to(dtype) for name, t in clip.state_dict().items()}
    write_safetensors(folder / WEIGHTS_FILE, state)
    tokenizer.vocabulary.save(folder)
    write_json(folder / CONFIG_FILE, {**to_dict(clip.config), "fingerprint": fingerprint(state)})
    return folder


def load_backbone(source: str | Path, *, activation: Activation | None = None, image_size: int = 0) -> Backbone:
    """Load a frozen CLIP, in float32.

    Args:
        source: `miniature` (shipped with the package); a repository of the Hugging Face hub such as
            `openai/clip-vit-base-patch16`; or the path of a folder or weight file of transformers, open_clip, OpenAI,
            the published Vita-CLIP code, or `save_backbone`.
        activation: for weights that do not tell theirs.
        image_size: side of the square input in pixels, if not the one it was trained with: the position embeddings
            are then resampled. 0: its own.

    Raises:
        ValueError: if there is no such CLIP, it is damaged or of an unknown kind, or no tokenizer is found for it.

    >>> load_backbone("miniature").fingerprint
    'f8560cd697f63887'
    """
    found: list[Tokenizer] = []

    def find(planned: CLIPWeights) -> None:
        found.append(find_tokenizer(planned.folder, planned.config.text))

    weights = read_clip(locate(str(source)), activation, before=find)
    if notice := licence_notice(str(source)):
        warnings.warn(f"{source}: the licence of these weights is {notice}", stacklevel=2)
    return build_backbone(weights, str(source), image_size=image_size, tokenizer=found[0])


def build_backbone(
    weights: CLIPWeights, name: str, *, image_size: int = 0, tokenizer: Tokenizer | None = None
) -> Backbone:
    """The backbone that is made of these weights; see `load_backbone`. The tokenizer is looked for if none is given."""
    clip = CLIP.from_state(weights.config, weights.state)
    tokenizer = tokenizer or find_tokenizer(weights.folder, weights.config.text)
    identity = fingerprint(clip.state_dict())
    if weights.fingerprint not in ("", identity):
        raise ValueError(
            f"{weights.folder}: damaged, or weights and config are not of one backbone (the config says fingerprint"
            f" {weights.fingerprint}, the weights have {identity}); copy both again"
        )
    if image_size not in (0, clip.config.vision.image_size):
        clip = clip.resized(image_size)
    return Backbone(clip.eval(), tokenizer, name, identity)


def find_tokenizer(folder: Path, text: TextConfig) -> Tokenizer:
    """The tokenizer of weights that lie in `folder`: the one beside them, or else CLIP's own if the text tower has as
    many entries. One with more entries than the text tower is refused."""
    beside = next((folder / name for name in TOKENIZER_FILES if (folder / name).is_file()), None)
    if beside is None and text.vocab_size != CLIP_VOCABULARY:
        raise ValueError(
            f"{folder}: no tokenizer in it ({', '.join(TOKENIZER_FILES[:3])}, ...), and a text tower of"
            f" {text.vocab_size} entries was not trained with CLIP's own; put the one there that belongs to the weights"
        )
    with reading(beside or CLIP_MERGES):
        vocabulary = read_vocabulary(beside or CLIP_MERGES)
        tokenizer = Tokenizer(vocabulary, text.layout, full_length=text.order == "all")
    if max(tokenizer.vocab_size - 1, text.layout.pad, *tokenizer.start, *tokenizer.end) >= text.vocab_size:
        raise ValueError(
            f"{folder}: its tokenizer has {tokenizer.vocab_size} entries, the text tower {text.vocab_size};"
            " put the one there that belongs to the weights"
        )
    return tokenizer
