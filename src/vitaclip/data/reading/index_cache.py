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
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

import av
import numpy as np

from vitaclip.data.reading.frame_index import FrameIndex
from vitaclip.data.reading.member import ShardMember, VideoPath
from vitaclip.files import atomic_write
from vitaclip.untrusted import read_bytes, reading

_FORMAT = 2
_COMPRESSION = 1
MAX_ENTRY_BYTES = 256 * 2**20
"""Of an entry, also when decompressed; the index of a video of a day has 80 MiB."""
_FIELDS = tuple(field.name for field in fields(FrameIndex))

Entry = FrameIndex | int
"""What is known of a file: its index; or, where its packets cannot stand for its frames, how many it gives."""


T = TypeVar("T")
State = Sequence[str | int]
"""Describes the state of a file; it differs once the file has changed."""


class IndexCache:
    """A folder of frame indices, and of what the headers of tar files say."""

    def __init__(self, folder: str | Path) -> None:
        """Raises:
        ValueError: the folder cannot be made.
        """
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"index_cache = {folder}: {error.strerror}; name a folder that can be written") from error

    def load(self, path: VideoPath) -> Entry | None:
        """The entry of a video file; None if the cache has none, or if the file has changed since."""
        try:
            state = _state(path)
        except OSError:
            return None
        return self.load_parsed(str(path.absolute()), state, _unpack)

    def store(self, path: VideoPath, entry: Entry) -> None:
        """Writes the entry of a video file. A folder that cannot be written to is a warning, not an error."""
        self.store_bytes(str(path.absolute()), _state(path), _pack(entry))

    def load_parsed(self, name: str, state: State, parse: Callable[[bytes], T]) -> T | None:
        """The parsed entry of a name; None without one, if it was written in another state, or if it cannot be parsed.

        Others may write to the folder, so that an entry may hold anything.
        """
        place = self._place(name)
        try:
            with reading(place):
                header, _, body = _decompress(read_bytes(place, MAX_ENTRY_BYTES)).partition(b"\n")
                return parse(body) if header == _header(name, state) else None
        except (OSError, ValueError):
            return None

    def store_bytes(self, name: str, state: State, body: bytes) -> None:
        """Writes bytes under a name. A folder that cannot be written to is a warning, not an error."""
        content = zlib.compress(_header(name, state) + b"\n" + body, _COMPRESSION)
        place = self._place(name)
        try:
            with atomic_write(place, durable=False) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            warnings.warn(
                f"{place} cannot be written ({error.strerror}): going on without it", RuntimeWarning, stacklevel=2
            )

    def _place(self, name: str) -> Path:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
        return self.folder / digest[:2] / digest


def _state(path: VideoPath) -> State:
    """The present state of a video file."""
    if isinstance(path, ShardMember):
        return path.version, path.offset, path.size
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _header(name: str, state: State) -> bytes:
    """First line of an entry: the format and PyAV versions, the name and the state of the file."""
    return json.dumps([_FORMAT, av.__version__, name, *state]).encode()


def index_cache(folder: str) -> IndexCache | None:
    """The cache that the setting `data.index_cache` names; None if it is empty."""
    return IndexCache(folder) if folder else None


def _pack(entry: Entry) -> bytes:
    if isinstance(entry, int):
        return json.dumps(entry).encode() + b"\n"
    arrays = [getattr(entry, name) for name in _FIELDS]
    lengths = [len(array) for array in arrays]
    return json.dumps(lengths).encode() + b"\n" + np.concatenate(arrays).astype("<i8").tobytes()


def _unpack(body: bytes) -> Entry:
    first, _, numbers = body.partition(b"\n")
    lengths = json.loads(first)
    if isinstance(lengths, int) and not isinstance(lengths, bool) and lengths >= 0:
        return lengths
    if len(lengths) != len(_FIELDS) or min(lengths) < 0 or 8 * sum(lengths) != len(numbers):
        raise ValueError("its lengths do not fit")
    index = FrameIndex(*np.split(np.frombuffer(numbers, dtype="<i8"), np.cumsum(lengths)[:-1]))
    packets = len(index.packet_times)
    for places in (index.places, index.key_places):
        if len(places) and not 0 <= places.min() <= places.max() < packets:
            raise ValueError("it places frames where no packet is")
    keys = {len(values) for values in (index.key_places, index.key_numbers, index.key_decode_times)}
    if len(index.packet_sizes) != packets or len(keys) > 1:
        raise ValueError("its lengths do not fit")
    return index


def _decompress(content: bytes) -> bytes:
    """Decompressed bytes, at most `MAX_ENTRY_BYTES`: a few kilobytes of zlib can stand for gigabytes."""
    decompressor = zlib.decompressobj()
    body = decompressor.decompress(content, MAX_ENTRY_BYTES)
    if not decompressor.eof:
        raise ValueError("cut short, or larger than any entry")
    return body
