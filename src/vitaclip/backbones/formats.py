"""Which format a file or folder with a CLIP is in, and how to read it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from vitaclip.backbones import CLIP
from vitaclip.backbones.config import Activation
from vitaclip.backbones.families.family import CLIPWeights, Family, families
from vitaclip.backbones.families.open_clip_config import read_settings
from vitaclip.backbones.hub import WEIGHTS, find_weights
from vitaclip.backbones.pixels import OPEN_CLIP_CONFIG_FILE
from vitaclip.backbones.reading import check_dtypes, open_state, to_float32
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

    Raises:
        ValueError: if the format is unknown, a key is left over or missing, shapes and config do not fit, a number is
            not finite, or the activation is neither told nor given.
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
