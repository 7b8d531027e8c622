"""Writing files so that nothing half-written is left behind (a neighbour, then one rename); naming damaged ones."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


@contextmanager
def replacing(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """A temporary neighbour of `path` to write to, put in its place on success and removed on failure.

    `durable` waits until it is on the disk, so that it outlives a power cut.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.chmod(0o644)  # safetensors would keep its files to the user
        if durable:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Has what the system refuses to an open file, as on a full disk, name it, which the system's error does not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary neighbours that a killed process left in a folder."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write text, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_place(file: str | Path) -> None:
    """Make sure that a file can be written here, before what it is to hold is computed at length.

    Raises:
        ValueError: for a folder, or below a file.
        OSError: the system refuses.
    """
    file = Path(file)
    if file.is_dir():
        raise ValueError(f"{file}: is a folder; name a file")
    above = next(folder for folder in file.parents if folder.exists())
    if not above.is_dir():
        raise ValueError(f"{above}: is a file; name a folder")
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    temporary.touch()
    temporary.unlink()


def check_made_with(file: Path, settings: str) -> None:
    """Make sure that the folder of a file that says how the folder was made is new, empty, or was made in this way.

    Raises:
        ValueError: it was made in another way, or holds something else altogether.
    """
    folder = file.parent
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; name a new folder")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not file.exists():
        raise ValueError(f"{folder}: holds other things; name a new folder")
    made = file.read_text(encoding="utf-8")
    if made != settings:
        raise ValueError(
            f"{folder}: was made with {made.strip()}, not {settings.strip()}; use these or name another folder"
        )


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as readable JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as csv, every field in quotes: paths and names may hold anything."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_safetensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors, atomically.

    Raises:
        OSError: if it cannot be written, as on a full disk.
    """
    cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(cpu, temporary, metadata=dict(metadata or {}))
        except SafetensorError as error:  # its name for what the system refuses
            raise OSError(f"{path}: {one_line(error)}") from error


def write_torch(path: str | Path, value: Any) -> None:
    """Write what `torch.load` reads, atomically."""
    with replacing(path) as temporary:
        torch.save(value, temporary)


def one_line(error: Exception) -> str:
    """The message of an error of several lines, as one."""
    return " ".join(str(error).split())
