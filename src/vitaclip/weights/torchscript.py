"""The weights in a TorchScript archive, such as OpenAI's `.pt` files, read without running it.

An archive holds a pickle that describes the module as a tree of attributes, one record for each storage, and code. The
code is not touched. The pickle is read by an unpickler that knows only what rebuilds tensors and plain containers: each
other thing that it is asked for is an error, and the module's own classes become empty shells that keep attributes.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
CONTAINERS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")
MODULE_DESCRIPTION = "data.pkl"


def is_torchscript(archive: zipfile.ZipFile) -> bool:
    """Whether an archive is TorchScript: unlike a state dict it holds constants."""
    return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path, archive: zipfile.ZipFile) -> dict[str, Tensor]:
    """Every tensor of the module: name -> tensor.

    Raises:
        ValueError: if the archive is damaged, or describes anything but tensors in modules.
    """
    root = next(name for name in archive.namelist() if name.endswith("/constants.pkl")).removesuffix("constants.pkl")
    try:
        with archive.open(root + MODULE_DESCRIPTION) as description:
            module = _Reader(description, archive, root).load()
    except (pickle.UnpicklingError, KeyError, EOFError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        raise ValueError(f"{path}: cannot be read as a TorchScript module ({error})") from error
    return dict(_tensors(module, ""))


class _Shell:
    """A module of the archive: its attributes, and nothing of its code."""

    def __setstate__(self, attributes: Any) -> None:
        self.attributes = attributes if isinstance(attributes, dict) else {}


class _Reader(pickle.Unpickler):
    """Finds only what is listed here."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return type(name, (_Shell,), {})
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _view,
            ("torch.jit._pickle", "restore_type_tag"): lambda value, tag: value,
            **{("torch.jit._pickle", container): list for container in CONTAINERS},
        }
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is never run")
        return known[module, name]

    def persistent_load(self, reference: Any) -> Tensor:
        """The storage of that reference, as a tensor of one axis."""
        _, dtype, key, _, count = reference
        if key not in self._storages:
            record = self._archive.getinfo(f"{self._root}data/{key}")
            storage = torch.empty(record.file_size, dtype=torch.uint8)
            with self._archive.open(record) as file:
                read = file.readinto(storage.numpy().data)  # type: ignore[attr-defined]
            if read != record.file_size or record.file_size != count * dtype.itemsize:
                raise pickle.UnpicklingError(f"storage {key} has another size than it declares")
            self._storages[key] = storage.view(dtype)
        return self._storages[key]


def _view(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    """The tensor on a part of its storage; torch refuses one that reaches beyond."""
    return storage.as_strided(tuple(size), tuple(stride), offset)


def _tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor below a module, named by the way to it."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, _Shell):
        for attribute, inner in value.attributes.items():
            yield from _tensors(inner, f"{name}.{attribute}" if name else attribute)
