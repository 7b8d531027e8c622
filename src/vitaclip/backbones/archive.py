"""Archives of `torch.save` and `torch.jit.save`: a zip with a pickle that describes, and one record for each storage.

TorchScript archives hold code too, which is never looked at.
"""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitaclip.backbones.pickles import Module, StoredTensor, read_pickle

DESCRIPTION = "data.pkl"
_PIECE_BYTES = 2**20


class TorchArchive:
    """An archive whose description was read, and whose tensors are still on the disk.

    Attributes:
        content: what the description says; of a TorchScript module its tensors by name.
    """

    def __init__(self, path: Path) -> None:
        """Open and read the description.

        Raises:
            ValueError: if it describes anything but tensors in plain containers.
            Exception: of nearly any kind, if it is damaged.
        """
        self._path = path
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.rpartition("/")[2] == DESCRIPTION]
            if not names:
                raise ValueError(f"a zip archive without {DESCRIPTION}, so torch did not write it")
            self._root = min(names, key=lambda name: name.count("/")).removesuffix(DESCRIPTION)
            content = read_pickle(bytes(self._read_record(archive, DESCRIPTION)))
        self.content = dict(_tensors(content)) if isinstance(content, Module) else content

    def read(self, wanted: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """The wanted tensors, in memory of their own. Each record is read once, and let go once its tensors are made.

        Raises:
            ValueError: if the file holds less than they need.
        """
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
