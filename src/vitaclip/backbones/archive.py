"""Archives of `torch.save` and `torch.jit.save`, read without running anything: a zip with a pickle that describes, and
one record for each storage. TorchScript archives hold code too, which is never looked at.

A pickle is a program for a small stack machine. Before the standard library's unpickler sees one, each instruction is
held against the list of those that torch writes. The unpickler is the one written in Python, because that in C takes
memory by numbers in the file (`LONG_BINPUT`) before it checks them. Each name that a pickle asks for is looked up in
tables of this file; nothing is ever imported for it, and of what it calls only these tables' functions run.
"""

import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

MAX_BYTES = 32 * 2**20
"""The largest pickle that is read. Those of checkpoints have some hundred kilobytes."""
MAX_OBJECTS = 1_000_000
"""Containers, marks and remembered values of one pickle, together: each costs memory for as little as one byte."""
DTYPES = {
    torch.float64: ("DoubleStorage", "F64"),
    torch.float32: ("FloatStorage", "F32"),
    torch.float16: ("HalfStorage", "F16"),
    torch.bfloat16: ("BFloat16Storage", "BF16"),
    torch.int64: ("LongStorage", "I64"),
    torch.int32: ("IntStorage", "I32"),
    torch.int16: ("ShortStorage", "I16"),
    torch.int8: ("CharStorage", "I8"),
    torch.uint8: ("ByteStorage", "U8"),
    torch.bool: ("BoolStorage", "BOOL"),
}
"""What torch calls the storages of a type in a pickle, and safetensors the type."""
_REMEDY = "save its state_dict() alone where you trust it"
_OBJECTS = """MARK EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST EMPTY_DICT DICT PUT BINPUT LONG_BINPUT MEMOIZE
REDUCE NEWOBJ""".split()  # noqa: SIM905 - a list of words
"""Instructions that torch writes and of which each makes something that stays."""
_OTHERS = """INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 NONE NEWTRUE NEWFALSE GET BINGET LONG_BINGET POP
POP_MARK DUP PROTO FRAME STOP APPEND APPENDS SETITEM SETITEMS GLOBAL STACK_GLOBAL BUILD BINPERSID""".split()  # noqa: SIM905


class Storage(NamedTuple):
    """A reference to a record of the archive that holds `numel` numbers."""

    key: str
    dtype: torch.dtype
    numel: int


class StoredTensor(NamedTuple):
    """A tensor that is still on the disk: a view of a storage."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Module:
    """A module of a TorchScript archive: its attributes, and nothing of its code."""

    attributes: Mapping[Any, Any] = MappingProxyType({})


class Settings(dict[Any, Any]):
    """A mapping of settings that training code keeps beside its weights, whatever class it has there."""

    def __init__(self, *_: Any) -> None:
        super().__init__()


def read_pickle(content: bytes) -> Any:
    """What a pickle of torch describes. A damaged one raises an exception of nearly any kind."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"its description has more than {MAX_BYTES // 2**20} MiB, which is not a checkpoint's")
    objects = 0
    for opcode, _, _ in pickletools.genops(content):
        objects += opcode.name in _OBJECTS
        if opcode.name not in _OBJECTS and opcode.name not in _OTHERS:
            raise ValueError(f"its description holds {opcode.name}, which torch does not write; {_REMEDY}")
        if objects > MAX_OBJECTS:
            raise ValueError(f"its description makes more than {MAX_OBJECTS:,} objects, which is not a checkpoint's")
    return _Unpickler(io.BytesIO(content), encoding="latin-1").load()


class _Unpickler(pickle._Unpickler):
    """The standard unpickler with the tables of this file, and with plain keys and states alone."""

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def find_class(self, module: str, name: str) -> Any:
        known = _GLOBALS.get((module, name), Module if module.startswith("__torch__") else None)
        if known is None:
            raise ValueError(
                f"holds more than weights: it asks for {f'{module}.{name}'[:120]}, and only running it could rebuild"
                f" that, which is never done; {_REMEDY}"
            )
        return known

    def persistent_load(self, saved_id: Any) -> Storage:
        _kind, dtype, key, _device, count = saved_id
        if not isinstance(dtype, torch.dtype) or not isinstance(count, int):
            raise ValueError(f"storage {str(key)[:40]!r} is of no plain type")
        return Storage(str(key), dtype, count)

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def set_items(self) -> None:
        self._set(self.pop_mark())

    def make_dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self._set(items)

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Hashing a deeply nested tuple would end the process.
            if not isinstance(key, str | int | float | None) or not isinstance(target, dict):
                raise ValueError(f"its description holds a key of type {type(key).__name__}")
            target[key] = value

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Module) and isinstance(state, dict):
            target.attributes = state
        elif not isinstance(target, dict | Module):  # of a dict it is `_metadata`, which no weight needs
            raise ValueError(f"its description sets the state of a {type(target).__name__}")

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.SETITEM[0]: set_item,
        pickle.SETITEMS[0]: set_items,
        pickle.DICT[0]: make_dict,
        pickle.BUILD[0]: build,
    }


def _view(storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> StoredTensor:
    """A view as torch describes it. One of stride 0 would stand for more numbers than the file holds."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Storage) or not all(isinstance(n, int) and 0 <= n < 2**62 for n in numbers):
        raise ValueError("a tensor of no plain kind")
    numel = math.prod(size)
    reach = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) + 1
    if len(size) > 8 or (numel and max(reach, numel) > storage.numel):
        raise ValueError(f"a tensor of shape {size[:8]} on a storage of {storage.numel} numbers; save it contiguous")
    return StoredTensor(storage, offset, size, stride)


def _first(value: Any = None, *_: Any) -> Any:
    return value


_GLOBALS: dict[tuple[str, str], torch.dtype | Callable[..., Any]] = {
    ("collections", "OrderedDict"): lambda *_: {},
    ("collections", "Counter"): _first,
    ("yacs.config", "CfgNode"): Settings,
    ("__builtin__", "set"): _first,
    ("torch", "Size"): _first,
    ("torch._utils", "_rebuild_tensor_v2"): _view,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch.jit._pickle", "restore_type_tag"): _first,
    **{("torch.jit._pickle", f"build_{kind}list"): _first for kind in ("int", "tensor", "double", "bool")},
    **{("torch", storage): dtype for dtype, (storage, _) in DTYPES.items()},
    **{("torch", str(dtype).removeprefix("torch.")): dtype for dtype in DTYPES},
}


DESCRIPTION = "data.pkl"
_PIECE_BYTES = 2**20


class TorchArchive:
    """An archive whose description was read, and whose tensors are still on the disk.

    Attributes:
        content: what the description says; of a TorchScript module its tensors by name.
    """

    def __init__(self, path: Path) -> None:
        """Open and read the description."""
        self._path = path
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.rpartition("/")[2] == DESCRIPTION]
            if not names:
                raise ValueError(f"a zip archive without {DESCRIPTION}, so torch did not write it")
            self._root = min(names, key=lambda name: name.count("/")).removesuffix(DESCRIPTION)
            content = read_pickle(bytes(self._read_record(archive, DESCRIPTION)))
        self.content = dict(_tensors(content)) if isinstance(content, Module) else content

    def read(self, wanted: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """The wanted tensors, in memory of their own. Each record is read once, and let go afterwards."""
        names_of: dict[str, list[str]] = {}
        for name, stored in wanted.items():
            names_of.setdefault(f"data/{stored.storage.key}", []).append(name)
        state: dict[str, Tensor] = {}
        with zipfile.ZipFile(self._path) as archive:
            # Entries of a zip may overlap, so that a small file holds many large ones.
            self._check_size(sum(archive.getinfo(self._root + record).file_size for record in names_of))
            for record, names in names_of.items():
                content = self._read_record(archive, record)
                state |= {name: _make(wanted[name], content, alone=len(names) == 1) for name in names}
        return {name: state[name] for name in wanted}

    def _check_size(self, declared: int) -> None:
        if declared > self._path.stat().st_size:
            raise ValueError("declares more data than it holds")

    def _read_record(self, archive: zipfile.ZipFile, name: str) -> bytearray:
        """The bytes of an entry, which torch never compresses; a compressed one might unpack to any size."""
        entry = archive.getinfo(self._root + name)
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError("a compressed archive, which torch does not write; unpack it")
        self._check_size(entry.file_size)
        record, place = bytearray(entry.file_size), 0
        with archive.open(entry) as file:
            # In pieces, because zipfile would make a second copy of what is read at once.
            while piece := file.read(_PIECE_BYTES):
                record[place : place + len(piece)] = piece
                place += len(piece)
        if place != entry.file_size:
            raise ValueError(f"its record {name} has another size than it declares")
        return record


def _make(stored: StoredTensor, record: bytearray, *, alone: bool) -> Tensor:
    """The tensor of a record: the record's own memory if it is all of it, else a copy of its part."""
    count, dtype = stored.storage.numel, stored.storage.dtype
    if len(record) != count * dtype.itemsize:
        raise ValueError(f"storage {stored.storage.key[:40]!r} has another size than it declares")
    view = torch.frombuffer(record, dtype=dtype).as_strided(stored.size, stored.stride, stored.offset)
    whole = alone and view.numel() == count and view.is_contiguous()
    return view if whole else view.clone(memory_format=torch.contiguous_format)


def _tensors(module: Module) -> Iterator[tuple[str, StoredTensor]]:
    """Every tensor below a module, named by the way to it. A module that is met again is passed over."""
    seen: set[int] = set()
    found: list[tuple[str, Any]] = [("", module)]
    while found:
        name, value = found.pop()
        if isinstance(value, StoredTensor):
            yield name, value
        elif isinstance(value, Module) and id(value) not in seen:
            seen.add(id(value))
            prefix = f"{name}." if name else ""
            found += [(f"{prefix}{attribute}", inner) for attribute, inner in value.attributes.items()]
