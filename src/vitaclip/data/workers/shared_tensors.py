"""Values that go to another process, their tensors through shared memory.

Nothing but the line and the memory is used, and both stay when the sender hangs or is killed right after sending
(torch's own way asks the sender for the memory later). The memory has no name that could be left behind.
"""

import io
import os
import pickle
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

_SMALLEST_BYTES = 4096  # below, a tensor travels in the message


def send(connection: Connection, value: Any) -> None:
    """Sends a value whose tensors are on the CPU."""
    message = io.BytesIO()
    pickler = _Pickler(message)
    pickler.dump(value)
    try:
        connection.send_bytes(message.getvalue())
        with _socket(connection) as line:
            for file in pickler.files:
                socket.send_fds(line, [b"."], [file])
    finally:
        for file in pickler.files:
            os.close(file)


def receive(connection: Connection) -> Any:
    """What `send` sent; the tensors' memory is the receiver's alone.

    Raises:
        EOFError, OSError: the line is closed.
    """
    message = io.BytesIO(connection.recv_bytes())
    with _socket(connection) as line:
        return _Unpickler(message, line).load()


class _Pickler(pickle.Pickler):
    """Puts the place of large tensors in the message, and these in `files`."""

    def __init__(self, message: io.BytesIO) -> None:
        super().__init__(message)
        self.files: list[int] = []

    def persistent_id(self, value: Any) -> tuple[torch.dtype, torch.Size] | None:
        if not isinstance(value, Tensor) or value.nbytes < _SMALLEST_BYTES:
            return None
        self.files.append(_memory_file())
        os.truncate(self.files[-1], value.nbytes)
        _map(self.files[-1], value.dtype, value.shape).copy_(value)
        return value.dtype, value.shape


class _Unpickler(pickle.Unpickler):
    def __init__(self, message: io.BytesIO, line: socket.socket) -> None:
        super().__init__(message)
        self._line = line

    def persistent_load(self, place: tuple[torch.dtype, torch.Size]) -> Tensor:
        _, files, _, _ = socket.recv_fds(self._line, 1, 1)
        if not files:
            raise EOFError
        try:
            return _map(files[0], *place)
        finally:
            os.close(files[0])


def _memory_file() -> int:
    """A file in memory without a name, where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("tensor")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _map(file: int, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    """A tensor whose memory is the file's."""
    return torch.from_file(f"/dev/fd/{file}", shared=True, size=shape.numel(), dtype=dtype).view(shape)


@contextmanager
def _socket(connection: Connection) -> Iterator[socket.socket]:
    """The line as a socket, for the length of the block."""
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        yield line
