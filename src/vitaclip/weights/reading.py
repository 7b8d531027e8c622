"""Tensors out of checkpoint files from anywhere, without running anything that is in them.

safetensors files hold nothing but tensors. Files of `torch.save` go through torch's own `weights_only` reader,
TorchScript archives through `torchscript.py`. Pickles without an archive around them (torch before 1.6) are refused.
"""

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vitaclip.files import one_line
from vitaclip.weights.torchscript import is_torchscript, read_torchscript

ZIP_START = b"PK\x03\x04"
WRAPPINGS = ("model", "state_dict", "model_state_dict")
"""Where training code keeps the weights beside its optimiser."""
PREFIXES = ("module.", "_orig_mod.")
"""What DistributedDataParallel and torch.compile put before every name."""


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The weights in a checkpoint file: name -> tensor, as stored.

    Optimiser state beside the weights is left on the disk, and the prefixes of `DistributedDataParallel` and
    `torch.compile` are taken off.

    Args:
        path: a `.safetensors` file, its `.index.json` if it is in several parts, or a file of `torch.save` or
            `torch.jit.save`.

    Raises:
        ValueError: if it is none of these, is damaged, or holds something that only running it could rebuild.
        OSError: if it cannot be read.
    """
    path = Path(path)
    if path.name.endswith(".index.json"):
        return _read_parts(path)
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(ZIP_START):
        return _read_archive(path)
    if start[8:] == b"{":
        return _read_safetensors(path)
    raise ValueError(
        f"{path}: neither safetensors nor an archive of torch.save; bare pickles (torch before 1.6) are never run:"
        " load it where you trust it and save it again with a newer torch"
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        # Read, not mapped: a map would count twice while it is converted, and a file overwritten under it would crash.
        return load_file(path, backend="pread")
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged safetensors file ({one_line(error)}); fetch it again") from error


def _read_parts(index: Path) -> dict[str, Tensor]:
    """All parts of a set of weights that was split, by the file that says what is where."""
    try:
        parts = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index}: not an index of weights ({one_line(error)})") from error
    state: dict[str, Tensor] = {}
    for part in sorted(map(str, parts)):
        if Path(part).name != part or not (index.parent / part).is_file():
            raise ValueError(f"{index}: names the part {part!r}, which is not beside it; fetch it")
        state |= read_state_dict(index.parent / part)
    return state


def _read_archive(path: Path) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(path, archive)
            if is_torchscript(archive):
                return read_torchscript(path, archive)
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (zipfile.BadZipFile, SafetensorError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: damaged archive ({one_line(error)[:200]}); fetch it again") from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: holds more than weights, and only running it could rebuild that, which is never done;"
            " save its state_dict() alone where you trust it"
        ) from error
    return _weights_in(path, loaded)


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    """torch stores data without compression: anything else is no such archive, and might unpack to any size.

    TorchScript does compress its code, which is never read.
    """
    entries = [entry for entry in archive.infolist() if "/code/" not in entry.filename]
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError(f"{path}: a compressed archive, which torch does not write; unpack it")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise ValueError(f"{path}: declares more data than it holds; fetch it again")


def _weights_in(path: Path, loaded: Any) -> dict[str, Tensor]:
    """The mapping of tensors in what a file held."""
    for wrapping in WRAPPINGS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapping), Mapping):
            loaded = loaded[wrapping]
    if not isinstance(loaded, Mapping) or not any(isinstance(value, Tensor) for value in loaded.values()):
        raise ValueError(f"{path}: no weights by name in it, but {type(loaded).__name__}")
    others = sorted(str(name) for name, value in loaded.items() if not isinstance(value, Tensor))
    if others:
        raise ValueError(f"{path}: beside weights it holds {others[:3]}; save the state_dict() alone")
    state = {str(name): value for name, value in loaded.items()}
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state
