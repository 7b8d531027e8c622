"""Where a video is: a path, a place inside a tar file, which is read there and not unpacked, or no file at all: an
address of the web, an open file, bytes, frames in memory.

Axes: T frames, H x W pixels.
"""

import io
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from vitaclip.strings import one_line

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_DOWNLOAD_BYTES = 4 << 30
"""An address that sends more is not read to its end."""
_SECONDS_OF_SILENCE = 30.0


@dataclass(frozen=True, eq=False)
class GivenVideo:
    """A video that is no file. It has those methods of a Path that lists of videos use."""

    name: str
    """What messages and results call it."""

    def __str__(self) -> str:
        return self.name

    @property
    def parts(self) -> tuple[str, ...]:
        """Its name alone."""
        return (self.name,)

    @property
    def absence(self) -> str:
        """What is said if it cannot be opened; the reason goes where {} stands."""
        return "cannot be reached ({}): check the address"

    def absolute(self) -> "GivenVideo":
        """Itself."""
        return self

    def resolve(self) -> "GivenVideo":
        """Itself."""
        return self

    def open(self, mode: Literal["rb"] = "rb") -> IO[bytes]:
        """Its bytes as a file, from the start; frames in memory have none."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class EncodedVideo(GivenVideo):
    """The bytes of a video file, as an array, because arrays reach another process through shared memory."""

    content: np.ndarray

    def open(self, mode: Literal["rb"] = "rb") -> IO[bytes]:
        return BytesIO(self.content.tobytes())


@dataclass(frozen=True, eq=False)
class FramesInMemory(GivenVideo):
    """Decoded frames."""

    frames: np.ndarray
    """uint8 (T, H, W, 3), RGB."""


@dataclass(frozen=True)
class RemoteVideo(GivenVideo):
    """A video at an `http://` or `https://` address, its name. It is fetched by the process that reads it, so that the
    time limit holds for slow servers too."""

    def open(self, mode: Literal["rb"] = "rb") -> IO[bytes]:
        """Fetch it whole into a temporary file without a name: FFmpeg itself never gets an address."""
        import httpx2

        with ExitStack() as opened:
            file = opened.enter_context(tempfile.TemporaryFile())
            try:
                with httpx2.stream("GET", self.name, follow_redirects=True, timeout=_SECONDS_OF_SILENCE) as response:
                    response.raise_for_status()
                    for piece in response.iter_bytes():
                        if file.tell() + len(piece) > MAX_DOWNLOAD_BYTES:
                            raise OSError(None, f"it sends more than {MAX_DOWNLOAD_BYTES >> 30} GiB")
                        file.write(piece)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise OSError(None, one_line(error)) from error
            file.seek(0)
            opened.pop_all()
            return file


def is_address(text: str) -> bool:
    """Whether a text is an address that `RemoteVideo` fetches."""
    return text.lower().startswith(("http://", "https://"))


def as_given(video: Any, name: str) -> GivenVideo | str | Path:
    """A video in memory under this name; texts, paths and what is a `GivenVideo` already stay as they are.

    Args:
        video: bytes, a file opened in binary mode, a list of PIL images, or a uint8 array or tensor (T, H, W, 3) or
            (T, 3, H, W), RGB.
        name: what messages and results call it.

    Raises:
        ValueError: for anything else.

    >>> as_given(np.zeros((8, 3, 48, 64), np.uint8), "clip").frames.shape
    (8, 48, 64, 3)
    """
    if isinstance(video, GivenVideo | str | Path):
        return video
    import torch
    from PIL import Image

    if hasattr(video, "read"):
        video = video.read()
        if isinstance(video, str):
            raise ValueError(f"{name}: the file is not open in binary mode; open it with mode 'rb'")
    if isinstance(video, bytes | bytearray | memoryview):
        return EncodedVideo(name, np.frombuffer(video, np.uint8))
    if isinstance(video, torch.Tensor):
        video = video.cpu().numpy()
    if isinstance(video, np.ndarray):
        if video.dtype != np.uint8:
            raise ValueError(f"{name}: frames of {video.dtype}; give uint8 pixels in 0..255")
        if video.ndim != 4 or 3 not in (video.shape[1], video.shape[3]) or not video.size:
            shapes = "(T, H, W, 3) or (T, 3, H, W), an image as image[None]"
            raise ValueError(f"{name}: frames of shape {video.shape}; give {shapes}")
        # The channels are where the length is 3, at the end if that is so in both places.
        return FramesInMemory(name, video if video.shape[3] == 3 else video.transpose(0, 2, 3, 1))
    if isinstance(video, Sequence) and video and all(isinstance(image, Image.Image) for image in video):
        if len(sizes := {image.size for image in video}) > 1:
            raise ValueError(f"{name}: images of {len(sizes)} sizes; resize them to one")
        return FramesInMemory(name, np.stack([np.asarray(image.convert("RGB")) for image in video]))
    raise ValueError(
        f"{name}: {type(video).__name__} is no video; give a path, an address, bytes, an open file, frames (T, H, W, 3)"
        " in uint8, or a list of PIL images (predict_many takes several videos)"
    )


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
