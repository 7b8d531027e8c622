"""Writing files atomically: to a temporary file beside the target, which then replaces it by one rename."""

import csv
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitaclip.strings import defuse, one_line

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`; it replaces `path` on success and is removed on failure.

    The file keeps the mode of the one that it replaces; a new file gets what the umask allows. The bytes are on the
    disk before the rename, so that a power cut loses nothing.

    Raises:
        OSError: the system refuses to write, as on a full disk; the error names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    with with_filename(path, instead_of=temporary):
        try:
            temporary.touch(exist_ok=False)
            mode = (path if path.exists() else temporary).stat().st_mode & 0o777
            yield temporary
            temporary.chmod(mode)  # safetensors writes files that only their owner may read
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    """The token is random because process ids repeat: each container of a cluster may run as process 1."""
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")


@contextmanager
def with_filename(path: str | Path, instead_of: Path | None = None) -> Iterator[None]:
    """Put `path` into an OSError that names no file (writing to an open file on a full disk), or names `instead_of`."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and (error.filename is None or str(error.filename) == str(instead_of)):
            error.filename = str(path)
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary neighbours that a killed process left in a folder."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write text, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_place(file: str | Path, inputs: Iterable[str | Path] = (), *, new: bool = False) -> None:
    """Make sure, before the long work, that its results can be written to a file that is none of its inputs.

    Raises:
        ValueError: the file is a folder, lies below a file, is one of the inputs, or has to be `new` and holds
            something, which may be all that is left of it.
        OSError: the system refuses.
    """
    file = Path(file)
    if file.is_dir():
        raise ValueError(f"{file}: is a folder; name a file")
    above = next(folder for folder in file.parents if folder.exists())
    if not above.is_dir():
        raise ValueError(f"{above}: is a file; name a folder")
    check_no_input(file, inputs)
    if new and file.exists() and file.stat().st_size:
        raise ValueError(f"{file}: is there already and would be written over; name another place, or remove it")
    file.parent.mkdir(parents=True, exist_ok=True)
    with with_filename(file, instead_of=(temporary := _temporary(file))):
        temporary.touch()
        temporary.unlink()


def check_no_input(place: str | Path, inputs: Iterable[str | Path]) -> None:
    """Raise ValueError if a file or folder that is to be written is one of the inputs, which need not exist."""
    if Path(place).exists() and Path(place).resolve() in {Path(given).resolve() for given in inputs if str(given)}:
        raise ValueError(f"{place}: is read by this command and would be written over; name another place")


def check_own(file: Path, *signs: str) -> None:
    """Raise ValueError if a file with a common name, in a folder that a user names, is somebody else's: it exists, but
    has none of the texts of which every such file of ours has one in its first megabyte."""
    if not file.exists():
        return
    with file.open("rb") as opened:
        start = opened.read(2**20)
    if not any(sign.encode() in start for sign in signs):
        raise ValueError(f"{file}: was not written by vitaclip and would be lost; name another folder")


def sha256_of_file(file: str | Path) -> str:
    """The sum of a file's bytes, as `sha256sum` prints it."""
    with Path(file).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def sha256_of_lines(lines: Iterable[str]) -> str:
    """The sum of a UTF-8 file that would hold these lines, each with its line end."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as readable JSON, atomically.

    Raises:
        ValueError: a number in it is NaN or infinite, for which JSON has no notation.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def csv_text(rows: Iterable[Sequence[object]], *, for_people: bool = False) -> str:
    """Rows as csv, every field in quotes: paths and names may hold anything.

    Cells `for_people` are defused, see `defuse`; lists that commands read again keep theirs.
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for row in rows:
        writer.writerow([defuse(cell) if for_people and isinstance(cell, str) else cell for cell in row])
    return text.getvalue()


def write_safetensors(
    path: str | Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors, atomically."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        with atomic_write(path) as temporary:
            save_file(cpu, temporary, metadata=dict(metadata or {}))
    except SafetensorError as error:  # its name for what the system refuses
        raise OSError(f"{path}: {one_line(error)}") from error
