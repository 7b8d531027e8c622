"""Tensors out of checkpoint files from anywhere, without running anything that is in them.

A file is opened first: then its names, types and shapes are known, and nothing has taken memory. The numbers follow
when `StateFile.read` is called. Pickles without an archive around them (torch before 1.6) are refused.
"""

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from vitaclip.backbones.archive import TorchArchive
from vitaclip.backbones.pickles import StoredTensor
from vitaclip.untrusted import read_json, reading

ZIP_START = b"PK\x03\x04"
WEIGHTS_KEYS = ("model", "state_dict", "model_state_dict", "module")
"""Where training code and DeepSpeed keep the weights beside their optimiser, in the order in which they are taken."""
EMA_KEYS = ("model_ema", "state_dict_ema", "ema_state_dict", "ema")
"""Where training code keeps the moving average of the weights. Taken only where there are no other weights."""
WRAPPERS = frozenset(("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"))
"""What DistributedDataParallel, torch.compile, FSDP and activation checkpointing put into the names, anywhere."""
NUM_AVERAGED = "n_averaged"
"""The counter that torch's AveragedModel keeps among the weights."""
MAX_PARTS = 1000
MAX_HEADER_BYTES = 16 * 2**20
"""Of a safetensors file: room for 100,000 tensors."""
MAX_LOGIT_SCALE = 10.0
"""Of the temperature's logarithm, either way. CLIP keeps it at most at 4.6."""
_WEIGHT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


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

        Raises:
            ValueError: if the file is damaged.
            OSError: if it cannot be read.
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
        if path.exists() and not path.is_file():
            raise ValueError(f"{path}: is no regular file")
        if path.name.endswith(".index.json"):
            return _open_parts(path)
        with path.open("rb") as file:
            start = file.read(9)
        if start.startswith(ZIP_START):
            return _open_archive(path)
        if start[8:] == b"{":
            return _open_safetensors(path)
    raise ValueError(
        f"{path}: neither safetensors nor an archive of torch.save; bare pickles (torch before 1.6) are never run:"
        " load it where you trust it and save it again with a newer torch"
    )


def check_dtypes(path: Path, state: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are empty or of a type that no weight has. Only types and shapes are looked at.

    Raises:
        ValueError: with the file and the tensor.
    """
    for name, tensor in state.items():
        if tensor.dtype not in _WEIGHT_DTYPES or not tensor.numel():
            kind = f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
            raise ValueError(
                f"{path}: {name} is {kind}; weights are float16, bfloat16, float32 or float64, and not empty"
            )


def to_float32(path: Path, state: dict[str, Tensor]) -> None:
    """Widen weights to float32 one by one, so that they are not in memory twice, and look at each number.

    Raises:
        ValueError: with the file and the tensor, for NaN, infinite numbers and absurd temperatures.
    """
    check_dtypes(path, state)
    for name in state:
        state[name] = state[name].float()
        low, high = (float(value) for value in state[name].aminmax())  # NaN if one number is
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{path}: {name} holds NaN or infinite numbers; take a checkpoint from before that")
        if name.endswith("logit_scale") and max(abs(low), abs(high)) > MAX_LOGIT_SCALE:
            raise ValueError(
                f"{path}: {name} = {high:g}, and its exponential scales the logits; CLIP's is at most ln(100) = 4.6"
            )


def _open_safetensors(path: Path) -> StateFile:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(MAX_HEADER_BYTES, path.stat().st_size):
            raise ValueError(f"{path}: states a header of {length:,} bytes, which is damaged; fetch it again")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    shapes = {name: _stated(name, entry) for name, entry in header.items()}
    renamed = _clean_names(path, list(shapes))

    def read() -> dict[str, Tensor]:
        # Read by "pread": the default maps the file, which would count twice while the weights are converted.
        with safe_open(path, framework="pt", backend="pread") as file:
            return {ours: file.get_tensor(theirs) for ours, theirs in renamed.items()}

    return StateFile(path, {ours: shapes[theirs] for ours, theirs in renamed.items()}, read)


def _stated(name: str, entry: Mapping[str, Any]) -> Tensor:
    """A tensor of the header, on the `meta` device. Whether the file holds it, its reader checks later."""
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"{name} is {str(entry['dtype'])[:20]}, a type that is not supported")
    return torch.empty(entry["shape"], dtype=_DTYPES[entry["dtype"]], device="meta")


def _open_archive(path: Path) -> StateFile:
    archive = TorchArchive(path)
    stored = _find_weights(path, archive.content)
    renamed = _clean_names(path, list(stored))
    wanted = {ours: stored[theirs] for ours, theirs in renamed.items()}
    shapes = {name: torch.empty(t.size, dtype=t.storage.dtype, device="meta") for name, t in wanted.items()}
    storages = {t.storage for t in wanted.values()}
    # Weights may share a storage, or be tied; what stands for many times the file's bytes is made to fill the memory.
    if sum(shape.numel() for shape in shapes.values()) > 2 * sum(storage.numel for storage in storages):
        raise ValueError(f"{path}: its tensors stand for more than twice the numbers that it holds")
    return StateFile(path, shapes, lambda: archive.read(wanted))


def _open_parts(index: Path) -> StateFile:
    """All parts of a set of weights that was split, by the file that says what is where."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(part, str) for part in weight_map.values()):
        raise ValueError(f"{index}: not an index of weights: it has no weight_map of names and files")
    names = sorted(set(weight_map.values()))
    for part in names[:MAX_PARTS]:
        if Path(part).name != part or part.endswith(".json") or not (index.parent / part).is_file():
            raise ValueError(f"{index}: names the part {part[:100]!r}, which is not beside it; fetch it")
    if len(names) > MAX_PARTS:
        raise ValueError(f"{index}: names {len(names)} parts, more than {MAX_PARTS}")
    parts = [open_state(index.parent / part) for part in names]
    shapes = {name: shape for part in parts for name, shape in part.shapes.items()}
    return StateFile(index, shapes, lambda: {name: tensor for part in parts for name, tensor in part.read().items()})


def _find_weights(path: Path, content: Any) -> dict[str, StoredTensor]:
    """The mapping of tensors in what a file holds, below any number of known keys."""
    seen: Any = content
    way: list[str] = []
    while isinstance(seen, Mapping) and len(way) < 8:
        key = next((key for key in (*WEIGHTS_KEYS, *EMA_KEYS) if isinstance(seen.get(key), Mapping)), None)
        if key is None:
            break
        others = [each for each in (*WEIGHTS_KEYS, *EMA_KEYS) if each != key and isinstance(seen.get(each), Mapping)]
        if others:
            warnings.warn(f"{path}: holds several sets of weights; {key!r} is read, not {others}", stacklevel=2)
        way.append(key)
        seen = seen[key]
    if not isinstance(seen, Mapping) or not any(isinstance(value, StoredTensor) for value in seen.values()):
        keys = f"with the keys {_first(list(seen))}" if isinstance(seen, Mapping) else ""
        below = f" below {'.'.join(way)}" if way else ""
        raise ValueError(
            f"{path}: no weights by name in it{below}, but {type(seen).__name__} {keys}; weights are looked for at the"
            f" top and below {', '.join((*WEIGHTS_KEYS, *EMA_KEYS))}"
        )
    others = [str(name) for name, value in seen.items() if not isinstance(value, StoredTensor)]
    if others:
        raise ValueError(f"{path}: beside weights it holds {_first(others)}; save the state_dict() alone")
    return {str(name): value for name, value in seen.items()}


def _clean_names(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Each name without what wrappers put into it -> the name as stored."""
    averaged = [name for name in names if name != NUM_AVERAGED]
    cleaned = {".".join(part for part in name.split(".") if part not in WRAPPERS): name for name in averaged}
    if len(cleaned) != len(averaged):
        raise ValueError(f"{path}: holds the same names with and without {sorted(WRAPPERS)}; save one set of weights")
    return cleaned


def _first(names: Sequence[object]) -> str:
    shown = json.dumps([str(name)[:60] for name in names[:8]], ensure_ascii=False)
    return shown if len(names) <= 8 else f"{shown[:-1]}, ...]"
