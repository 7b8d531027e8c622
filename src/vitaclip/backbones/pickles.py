"""Pickles of torch, read without running anything: only plain values, containers and references to tensors come out.

A pickle is a program for a small stack machine. This reader knows the instructions that torch writes, and the few
names that torch's files call; each other name is an error and is never looked up. Python's own unpickler is not used,
because it takes memory by numbers in the file (`LONG_BINPUT`) before it checks them.
"""

import math
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

MAX_BYTES = 32 * 2**20
"""The largest pickle that is read. Those of checkpoints have some hundred kilobytes."""
MAX_OBJECTS = 1_000_000
"""Containers, marks and remembered values of one pickle, together: each costs memory for as little as one byte."""
DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_Key = str | int | float | bool | None
_LITERALS = frozenset(
    """INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8""".split()  # noqa: SIM905 - a list of words
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


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


@dataclass(eq=False)
class Module:
    """A module of a TorchScript archive: its attributes, and nothing of its code."""

    attributes: Mapping[Any, Any] = field(default_factory=dict)


class Global(NamedTuple):
    """A name that a pickle asks for, which is known."""

    module: str
    name: str


def read_pickle(content: bytes) -> Any:
    """What a pickle of torch describes.

    Raises:
        ValueError: if it is too large, or asks for anything but tensors in plain containers.
        Exception: of nearly any kind, if it is damaged.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"its description has more than {MAX_BYTES // 2**20} MiB, which is not a checkpoint's")
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "STOP":
            return machine.stack.pop()
        machine.step(opcode.name, argument)
    raise ValueError("its description ends too early")  # genops itself raises before


class _Machine:
    """The state while a pickle is read. `marks` holds the stacks below the current one, one for each open mark."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.objects = 0

    def step(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self.stack.append(self.memo[argument])
        elif name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            self._count()
            self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
        elif name in _TUPLES:
            self._push(tuple(self._take(_TUPLES[name])))
        elif name not in ("PROTO", "FRAME"):
            handler = _HANDLERS.get(name)
            if handler is None:
                raise ValueError(f"its description holds {name}, which torch does not write; {_REMEDY}")
            handler(self, argument)

    def _count(self) -> None:
        self.objects += 1
        if self.objects > MAX_OBJECTS:
            raise ValueError(f"its description makes more than {MAX_OBJECTS:,} objects, which is not a checkpoint's")

    def _push(self, container: Any) -> None:
        self._count()
        self.stack.append(container)

    def _take(self, count: int) -> list[Any]:
        taken = self.stack[len(self.stack) - count :]
        if len(taken) != count:
            raise ValueError("its description takes more than there is")
        del self.stack[len(self.stack) - count :]
        return taken

    def mark(self, _: Any) -> None:
        self._count()
        self.marks.append(self.stack)
        self.stack = []

    def items(self) -> list[Any]:
        """What was put down since the last mark, which is taken away."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def make_dict(self, _: Any) -> None:
        items = self.items()
        self._push({})
        self._set(items)

    def set_item(self, _: Any) -> None:
        self._set(self._take(2))

    def set_items(self, _: Any) -> None:
        self._set(self.items())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Hashing a deeply nested tuple would end the process.
            if not isinstance(key, _Key) or not isinstance(target, dict):
                raise ValueError(f"its description holds a key of type {type(key).__name__}")
            target[key] = value

    def append(self, _: Any) -> None:
        (item,) = self._take(1)
        self._list().append(item)

    def appends(self, _: Any) -> None:
        items = self.items()
        self._list().extend(items)

    def _list(self) -> list[Any]:
        if not isinstance(self.stack[-1], list):
            raise ValueError("its description appends to what is no list")
        return self.stack[-1]

    def find(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(_known(module, name))

    def stack_find(self, _: Any) -> None:
        module, name = self._take(2)
        self.stack.append(_known(str(module), str(name)))

    def call(self, _: Any) -> None:
        called, arguments = self._take(2)
        function = _CALLS.get(called) if isinstance(called, Global) else None
        if function is None or not isinstance(arguments, tuple):
            raise ValueError(f"its description calls {str(called)[:80]}, which is never run")
        self._push(function(*arguments))

    def new_object(self, _: Any) -> None:
        called, _arguments = self._take(2)
        if not isinstance(called, Global) or not called.module.startswith("__torch__"):
            raise ValueError(f"its description makes a {str(called)[:80]}, which is never run")
        self._push(Module())

    def build(self, _: Any) -> None:
        (state,) = self._take(1)
        target = self.stack[-1]
        if isinstance(target, Module) and isinstance(state, dict):
            target.attributes = state
        elif not isinstance(target, dict | Module):  # of a dict it is `_metadata`, which no weight needs
            raise ValueError(f"its description sets the state of a {type(target).__name__}")

    def storage(self, _: Any) -> None:
        ((_kind, called, key, _device, count),) = self._take(1)
        if not isinstance(called, Global) or called.name not in DTYPES or not isinstance(count, int):
            raise ValueError(f"storage {str(key)[:40]!r} is of no plain type")
        self._push(Storage(str(key), DTYPES[called.name], count))


_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "EMPTY_DICT": lambda machine, _: machine._push({}),
    "EMPTY_LIST": lambda machine, _: machine._push([]),
    "TUPLE": lambda machine, _: machine._push(tuple(machine.items())),
    "LIST": lambda machine, _: machine._push(machine.items()),
    "DICT": _Machine.make_dict,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "POP": lambda machine, _: machine._take(1).clear(),
    "POP_MARK": lambda machine, _: machine.items().clear(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "GLOBAL": _Machine.find,
    "STACK_GLOBAL": _Machine.stack_find,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.new_object,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.storage,
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


_FIRST: Callable[..., Any] = lambda value, *_: value  # noqa: E731 - one of the table's calls
_CALLS: dict[Global, Callable[..., Any]] = {
    Global("collections", "OrderedDict"): lambda: {},
    Global("collections", "Counter"): _FIRST,
    Global("torch", "Size"): _FIRST,
    Global("torch._utils", "_rebuild_tensor_v2"): _view,
    Global("torch._utils", "_rebuild_parameter"): _FIRST,
    Global("torch._utils", "_rebuild_parameter_with_state"): _FIRST,
    Global("torch.jit._pickle", "restore_type_tag"): _FIRST,
    **{Global("torch.jit._pickle", f"build_{kind}list"): _FIRST for kind in ("int", "tensor", "double", "bool")},
}
_VALUES = {Global("torch", str(dtype).removeprefix("torch.")): dtype for dtype in DTYPES.values()}
_REMEDY = "save its state_dict() alone where you trust it"


def _known(module: str, name: str) -> Any:
    """What a name stands for in the description; it is looked up in tables alone, and imports nothing."""
    wanted = Global(module, name)
    if wanted in _VALUES:
        return _VALUES[wanted]
    if wanted in _CALLS or module.startswith("__torch__") or (module == "torch" and name in DTYPES):
        return wanted
    raise ValueError(
        f"holds more than weights: it asks for {f'{module}.{name}'[:120]}, and only running it could rebuild that,"
        f" which is never done; {_REMEDY}"
    )
