"""A video inside a tar file, read in place: nothing is unpacked."""

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vitaclip.data.reading.given import GivenVideo

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(frozen=True)
class ShardMember:
    """A video inside a tar file. It has those methods of a Path that lists of videos use."""

    shard: str
    """Path of the tar file."""
    name: str
    """The member's name."""
    offset: int
    """Where its bytes begin."""
    size: int
    """Number of its bytes."""

    def __str__(self) -> str:
        return f"{self.shard}::{self.name}"

    @property
    def parts(self) -> tuple[str, ...]:
        """Folders, the tar file, and what leads to the member in it, its own name last."""
        return (*self.shard.split("/"), *self.name.split("/"))

    def absolute(self) -> "ShardMember":
        """The same, from the root of the file system."""
        return replace(self, shard=str(Path(self.shard).absolute()))

    def resolve(self) -> "ShardMember":
        """The same, links followed."""
        return replace(self, shard=os.path.realpath(self.shard))

    def open(self, mode: Literal["rb"] = "rb") -> "MemberFile":
        """Opens it for reading; there is no other mode."""
        return MemberFile(self)


VideoPath = Path | ShardMember | GivenVideo
"""Where a video is."""


class MemberFile(io.RawIOBase):
    """The bytes of a member as a file: a slice of the tar file."""

    def __init__(self, member: ShardMember) -> None:
        self.name = "member"  # what FFmpeg takes for the name
        self._start, self._size, self._position = member.offset, member.size, 0
        self._file = Path(member.shard).open("rb", buffering=0)  # noqa: SIM115 - `close` closes it

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Sets the position in the member."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fills a buffer, up to the end of the member; OSError if the tar file has become shorter."""
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._position)]
        self._file.seek(self._start + self._position)
        if self._file.readinto(view) < len(view):
            raise OSError(None, "the tar file has become shorter")
        self._position += len(view)
        return len(view)

    def close(self) -> None:
        """Closes the tar file."""
        self._file.close()
        super().close()
