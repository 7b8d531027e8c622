"""Frame indices kept in a folder, so that a file's packets are read once and not every time it is opened.

One small file per video. Any number of processes may share the folder: entries appear whole, by a rename; two
processes that make the same entry write the same. An entry that is damaged or cannot be read, that another version
wrote, or whose video has changed since (size or time of modification) counts as missing and is written anew.
"""

import hashlib
import json
import os
import warnings
import zlib
from dataclasses import fields
from pathlib import Path

import av
import numpy as np

from vitaclip.data.frame_index import FrameIndex
from vitaclip.files import replacing

_FORMAT = 1
_COMPRESSION = 1
_FIELDS = tuple(field.name for field in fields(FrameIndex))

Entry = FrameIndex | int
"""What is known of a file: its index; or, where its packets cannot stand for its frames, how many it gives."""


class IndexCache:
    """A folder of frame indices."""

    def __init__(self, folder: str | Path) -> None:
        """Raises:
        ValueError: the folder cannot be made.
        """
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"index_cache = {folder}: {error.strerror}; name a folder that can be written") from error

    def load(self, path: Path) -> Entry | None:
        """What is kept about a video file; None if nothing, or nothing that still holds."""
        try:
            content = self._place(path).read_bytes()
        except OSError:
            return None
        try:
            header, _, body = zlib.decompress(content).partition(b"\n")
            if header != self._header(path):
                return None
            lengths, _, numbers = body.partition(b"\n")
            return _unpack(json.loads(lengths), numbers)
        except (zlib.error, ValueError):
            return None

    def store(self, path: Path, entry: Entry) -> None:
        """Keeps what is known about a video file. Warns, and goes on, if the folder does not take it."""
        content = zlib.compress(self._header(path) + b"\n" + _pack(entry), _COMPRESSION)
        place = self._place(path)
        try:
            with replacing(place, durable=False) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            warnings.warn(
                f"{place} cannot be written ({error.strerror}): going on without it", RuntimeWarning, stacklevel=2
            )

    def _place(self, path: Path) -> Path:
        name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:32]
        return self.folder / name[:2] / name

    def _header(self, path: Path) -> bytes:
        """The file as it is now, and who reads it."""
        state = path.stat()
        facts = [_FORMAT, av.__version__, str(path.absolute()), state.st_size, state.st_mtime_ns]
        return json.dumps(facts).encode()


def index_cache(folder: str) -> IndexCache | None:
    """The cache that the setting `data.index_cache` names; None if it is empty."""
    return IndexCache(folder) if folder else None


def _pack(entry: Entry) -> bytes:
    if isinstance(entry, int):
        return json.dumps(entry).encode() + b"\n"
    arrays = [getattr(entry, name) for name in _FIELDS]
    lengths = [len(array) for array in arrays]
    return json.dumps(lengths).encode() + b"\n" + np.concatenate(arrays).astype("<i8").tobytes()


def _unpack(lengths: list[int] | int, numbers: bytes) -> Entry:
    if isinstance(lengths, int):
        return lengths
    arrays = np.split(np.frombuffer(numbers, dtype="<i8"), np.cumsum(lengths)[:-1])
    return FrameIndex(*arrays)
