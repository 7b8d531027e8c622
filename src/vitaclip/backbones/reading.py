"""Tensors out of checkpoint files from anywhere, without running anything that is in them.

A file is opened first: then its names, types and shapes are known, and nothing has taken memory. The numbers follow
when `StateFile.read` is called. Pickles without an archive around them (torch before 1.6) are refused.
"""

import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from vitaclip.backbones.archive import DTYPES, StoredTensor, TorchArchive
from vitaclip.untrusted import read_json, reading

ZIP_START = b"PK\x03\x04"
WEIGHTS_KEYS = (
    *("model", "state_dict", "model_state_dict", "module"),
    *("model_ema", "state_dict_ema", "ema_state_dict", "ema"),
)
"""Where training code and DeepSpeed keep the weights beside their optimiser, in the order in which they are taken:
moving averages only where there are no other weights."""
WRAPPERS = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
"""What DistributedDataParallel, torch.compile, FSDP and activation checkpointing put into the names, anywhere."""
NUM_AVERAGED = "n_averaged"
"""The counter that torch's AveragedModel keeps among the weights."""
MAX_HEADER_BYTES = 16 * 2**20
"""Of a safetensors file: room for 100,000 tensors."""
MAX_LOGIT_SCALE = 10.0
"""Of the temperature's logarithm, either way. CLIP keeps it at most at 4.6."""
_WEIGHT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_DTYPES = {name: dtype for dtype, (_, name) in DTYPES.items()}


@dataclass(frozen=True)
class StateFile:
    """A file with weights by name, opened but not read.

    Attributes:
        path: the file.
        shapes: name -> tensor on the `meta` device, which has type and shape and takes no memory.
    """

    path: Path
    shapes: dict[str, Tensor]
    _read: Callable[[], dict[str, Tensor]]

    def read(self) -> dict[str, Tensor]:
        """The weights: name -> tensor, as stored, in memory of their own.

        They are copied, not mapped: a file that is overwritten later would change a mapped model or end the process.
        """
        with reading(self.path):
            return self._read()


def open_state(path: str | Path) -> StateFile:
    """Open a checkpoint file and look at its names, types and shapes.

    Optimiser state beside the weights is left on the disk, and what wrappers such as DistributedDataParallel put into
    the names is taken out.

    Args:
        path: a `.safetensors` file, its `.index.json` if it is in several parts, or a file of `torch.save` or
            `torch.jit.save`.

    Raises:
        ValueError: if it is none of these, is damaged, or holds something that only running it could rebuild.
        OSError: if it cannot be read.
    """
    path = Path(path)
    with reading(path):
        stored = _open(path)
        names = _clean_names(stored.shapes)

    def read() -> dict[str, Tensor]:
        values = stored.read()
        return {ours: values[theirs] for ours, theirs in names.items()}

    return StateFile(path, {ours: stored.shapes[theirs] for ours, theirs in names.items()}, read)


def check_dtypes(state: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are empty or of a type that no weight has. Only types and shapes are looked at."""
    for name, tensor in state.items():
        if tensor.dtype not in _WEIGHT_DTYPES or not tensor.numel():
            kind = f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
            raise ValueError(f"{name} is {kind}; weights are float16, bfloat16, float32 or float64, and not empty")


def to_float32(state: dict[str, Tensor]) -> None:
    """Widen weights to float32 one by one, so that they are not in memory twice, and refuse NaN, infinite numbers and
    absurd temperatures."""
    check_dtypes(state)
    for name in state:
        state[name] = state[name].float()
        low, high = (float(value) for value in state[name].aminmax())  # NaN if one number is
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{name} holds NaN or infinite numbers; take a checkpoint from before that")
        if name.endswith("logit_scale") and max(abs(low), abs(high)) > MAX_LOGIT_SCALE:
            raise ValueError(
                f"{name} = {high:g}, and its exponential scales the logits; CLIP's is at most ln(100) = 4.6"
            )


def _open(path: Path) -> StateFile:
    """The file by its content, under the names that are stored."""
    if path.exists() and not path.is_file():
        raise ValueError("is no regular file")
    if path.name.endswith(".index.json"):
        return _open_parts(path)
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith(ZIP_START):
        return _open_archive(path)
    if start[8:] == b"{":
        return _open_safetensors(path, header_bytes=int.from_bytes(start[:8], "little"))
    raise ValueError(
        "neither safetensors nor an archive of torch.save; bare pickles (torch before 1.6) are never run: load it where"
        " you trust it and save it again with a newer torch"
    )


def _open_safetensors(path: Path, header_bytes: int) -> StateFile:
    if header_bytes > min(MAX_HEADER_BYTES, path.stat().st_size):
        raise ValueError(f"states a header of {header_bytes:,} bytes, which is damaged; fetch it again")

    def read() -> dict[str, Tensor]:
        # Read by "pread": the default maps the file, which would count twice while the weights are converted.
        with safe_open(path, framework="pt", backend="pread") as file:
            return {name: file.get_tensor(name) for name in shapes}

    with path.open("rb") as file:
        header = json.loads(file.read(8 + header_bytes)[8:])
    header.pop("__metadata__", None)
    if unknown := {str(entry["dtype"]) for entry in header.values()} - _DTYPES.keys():
        raise ValueError(f"holds {min(unknown)[:20]}, a type that is not supported")
    shapes = {name: _shape(entry["shape"], _DTYPES[entry["dtype"]]) for name, entry in header.items()}
    return StateFile(path, shapes, read)


def _open_archive(path: Path) -> StateFile:
    archive = TorchArchive(path)
    stored = _find_weights(path, archive.content)
    shapes = {name: _shape(tensor.size, tensor.storage.dtype) for name, tensor in stored.items()}
    # Weights may share a storage, or be tied; what stands for many times the file's bytes is made to fill the memory.
    held = sum(storage.numel for storage in {tensor.storage for tensor in stored.values()})
    if sum(shape.numel() for shape in shapes.values()) > 2 * held:
        raise ValueError("its tensors stand for more than twice the numbers that it holds")
    return StateFile(path, shapes, lambda: archive.read(stored))


def _open_parts(index: Path) -> StateFile:
    """All parts of a set of weights that was split, by the file that says what is where."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(part, str) for part in weight_map.values()):
        raise ValueError("not an index of weights: it has no weight_map of names and files")
    names = sorted(set(weight_map.values()))
    for part in names:
        if Path(part).name != part or part.endswith(".json") or not (index.parent / part).is_file():
            raise ValueError(f"names the part {part[:100]!r}, which is not beside it; fetch it")
    parts = [open_state(index.parent / part) for part in names]
    shapes = {name: shape for part in parts for name, shape in part.shapes.items()}
    return StateFile(index, shapes, lambda: {name: tensor for part in parts for name, tensor in part.read().items()})


def _shape(size: Iterable[int], dtype: torch.dtype) -> Tensor:
    return torch.empty(tuple(size), dtype=dtype, device="meta")


def _find_weights(path: Path, content: Any) -> dict[str, StoredTensor]:
    """The mapping of tensors in what a file holds, below any number of known keys."""
    way: list[str] = []
    while isinstance(content, Mapping) and len(way) < 8:
        keys = [key for key in WEIGHTS_KEYS if isinstance(content.get(key), Mapping)]
        if not keys:
            break
        if len(keys) > 1:
            warnings.warn(f"{path}: holds several sets of weights; {keys[0]!r} is read, not {keys[1:]}", stacklevel=2)
        way.append(keys[0])
        content = content[keys[0]]
    if not isinstance(content, Mapping) or not any(isinstance(value, StoredTensor) for value in content.values()):
        keys_there = f"with the keys {_first(content)}" if isinstance(content, Mapping) else ""
        below = f" below {'.'.join(way)}" if way else ""
        raise ValueError(
            f"no weights by name in it{below}, but {type(content).__name__} {keys_there}; weights are looked for at the"
            f" top and below {', '.join(WEIGHTS_KEYS)}"
        )
    if others := [name for name, value in content.items() if not isinstance(value, StoredTensor)]:
        raise ValueError(f"beside weights it holds {_first(others)}; save the state_dict() alone")
    return {str(name): value for name, value in content.items()}


def _clean_names(names: Iterable[str]) -> dict[str, str]:
    """Each name without what wrappers put into it -> the name as stored."""
    kept = [name for name in names if name != NUM_AVERAGED]
    cleaned = {".".join(part for part in name.split(".") if part not in WRAPPERS): name for name in kept}
    if len(cleaned) != len(kept):
        raise ValueError(f"holds the same names with and without {sorted(WRAPPERS)}; save one set of weights")
    return cleaned


def _first(names: Iterable[object]) -> str:
    """The first eight of many names, as a list."""
    known = [str(name)[:60] for name in names]
    shown = json.dumps(known[:8], ensure_ascii=False)
    return shown if len(known) <= 8 else f"{shown[:-1]}, ...]"
