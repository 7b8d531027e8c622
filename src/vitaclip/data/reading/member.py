"""A video inside a tar file, read in place: nothing is unpacked, and no more of the tar file is read than is needed."""

import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from fsspec.core import url_to_fs

from vitaclip.data.reading.given import GivenVideo
from vitaclip.strings import one_line

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BETWEEN = "::"
"""Stands between a tar file and what is in it."""

_READ_AHEAD_BYTES = 1 << 22
_SECONDS_BETWEEN_TRIES = (0.5, 2.0)
_PERMANENT = (FileNotFoundError, PermissionError, ImportError, ValueError)  # trying again does not help

ResultT = TypeVar("ResultT")


class ShardError(OSError):
    """Raised if a tar file or a member cannot be read. Callers put the requested path in front of the message."""


@dataclass(frozen=True)
class ShardMember:
    """A video inside a tar file. It has those methods of a Path that lists of videos use."""

    shard: str
    """Path or address of the tar file."""
    name: str
    """The member's name."""
    offset: int
    """Where its bytes begin."""
    size: int
    """Number of its bytes."""
    version: str = field(compare=False)
    """Identifies the state of the tar file; it differs once the file has changed."""

    def __str__(self) -> str:
        return f"{self.shard}{BETWEEN}{self.name}"

    @property
    def parts(self) -> tuple[str, ...]:
        """Folders, the tar file, and what leads to the member in it, its own name last."""
        return (*self.shard.split("/"), *self.name.split("/"))

    def absolute(self) -> "ShardMember":
        """The same, from the root of the file system; addresses stay."""
        return replace(self, shard=str(Path(self.shard).absolute())) if is_local(self.shard) else self

    def resolve(self) -> "ShardMember":
        """The same, links followed."""
        return replace(self, shard=os.path.realpath(self.shard)) if is_local(self.shard) else self

    def open(self, mode: Literal["rb"] = "rb") -> "MemberFile":
        """Opens it for reading; there is no other mode.

        Raises:
            ShardError: the storage does not give it.
        """
        return MemberFile(self)


VideoPath = Path | ShardMember | GivenVideo
"""Where a video is."""


class MemberFile(io.RawIOBase):
    """The bytes of a member as a file."""

    def __init__(self, member: ShardMember) -> None:
        self.name = "member"  # what FFmpeg takes for the name
        self._member, self._position, self._is_broken = member, 0, False
        system, path = url_to_fs(member.shard)
        # A member that is not large comes with one request, and little of the next with it.
        ahead = min(max(member.size, 1), _READ_AHEAD_BYTES)
        self._file = with_retries(lambda: system.open(path, "rb", block_size=ahead))

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Sets the position in the member."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._member.size}[whence]
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fills a buffer, up to the end of the member.

        Raises:
            ShardError: the storage does not give the bytes. Later calls read nothing, because FFmpeg would ask again.
        """
        view = memoryview(buffer).cast("B")
        length = 0 if self._is_broken else min(len(view), max(0, self._member.size - self._position))
        if length == 0:
            return 0
        try:
            content = with_retries(lambda: self._read(length))
        except ShardError:
            self._is_broken = True
            raise
        view[:length] = content
        self._position += length
        return length

    def close(self) -> None:
        """Closes the tar file."""
        if not self.closed:
            self._file.close()
        super().close()

    def _read(self, length: int) -> bytes:
        self._file.seek(self._member.offset + self._position)
        content: bytes = self._file.read(length)
        if len(content) < length:
            raise ShardError("is no longer whole: the tar file has become shorter; start again")
        return content


def with_retries(ask: Callable[[], ResultT]) -> ResultT:
    """The result of a request, which is repeated if it fails, because networks are unreliable.

    Raises:
        ShardError: the last try failed, or the error is one that repeating does not mend.
    """
    for seconds in (*_SECONDS_BETWEEN_TRIES, None):
        try:
            return ask()
        except ShardError:
            raise
        except Exception as error:  # every storage has errors of its own
            if seconds is None or isinstance(error, _PERMANENT):
                reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {one_line(error)}"
                raise ShardError(f"cannot be read ({reason}): check the address") from error
            time.sleep(seconds)
    raise AssertionError("the last try returns or raises")


def is_local(address: str) -> bool:
    """Whether it is a path, and not an address with a protocol."""
    return "://" not in address and BETWEEN not in address
