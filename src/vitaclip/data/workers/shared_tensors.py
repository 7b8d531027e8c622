"""Values that go to another process, their tensors through shared memory.

Nothing but the pipe and the memory is used, and both stay when the sender hangs or is killed right after sending
(torch's own way asks the sender for the memory later). The memory has no name that could be left behind.
"""

import io
import mmap
import os
import pickle
import tempfile
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

_MIN_BYTES = 4096  # a smaller tensor travels in the message
_ALIGNMENT = 64  # bytes


class _Pickler(pickle.Pickler):
    """Takes tensors for arrays, whose content pickle hands out as buffers."""

    def reducer_override(self, value: Any) -> Any:
        return (torch.from_numpy, (value.numpy(),)) if isinstance(value, Tensor) else NotImplemented


def send(connection: Connection, value: Any) -> None:
    """Send a value whose tensors are on the CPU."""
    message, buffers = io.BytesIO(), list[memoryview]()

    def stays_in_message(buffer: pickle.PickleBuffer) -> bool:
        content = buffer.raw()
        if content.nbytes >= _MIN_BYTES:
            buffers.append(content)
        return content.nbytes < _MIN_BYTES

    _Pickler(message, protocol=5, buffer_callback=stays_in_message).dump(value)
    if not buffers:
        return connection.send(((), message.getvalue()))
    file = os.memfd_create("tensors") if hasattr(os, "memfd_create") else _temporary_file()
    try:
        with open(file, "wb", closefd=False) as memory:
            for content in buffers:
                memory.write(content)
                memory.write(bytes(-content.nbytes % _ALIGNMENT))
        connection.send(([content.nbytes for content in buffers], message.getvalue()))
        reduction.send_handle(connection, file, None)
    finally:
        os.close(file)


def receive(connection: Connection) -> Any:
    """What `send` sent; the tensors' memory is the receiver's alone.

    Raises:
        EOFError, OSError: the pipe is closed.
    """
    sizes, message = connection.recv()
    if not sizes:
        return pickle.loads(message)
    file = reduction.recv_handle(connection)
    try:
        memory = memoryview(mmap.mmap(file, 0))
    finally:
        os.close(file)
    buffers, start = [], 0
    for size in sizes:
        buffers.append(memory[start : start + size])
        start += size + -size % _ALIGNMENT
    return pickle.loads(message, buffers=buffers)


def _temporary_file() -> int:
    """A file without a name, where the system has no such files in memory."""
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
