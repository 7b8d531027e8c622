"""Values that go to another process, their large tensors through shared memory.

Nothing but the pipe and the memory is used, and both stay when the sender hangs or is killed right after sending
(torch's own way asks the sender for the memory later). The memory has no name that could be left behind.
"""

import io
import mmap
import os
import pickle
import tempfile
from contextlib import ExitStack
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

_MIN_BYTES = 4096  # a smaller tensor travels in the message


class _Pickler(pickle.Pickler):
    """Takes tensors for arrays, whose content pickle hands out as buffers."""

    def reducer_override(self, value: Any) -> Any:
        return (torch.from_numpy, (value.numpy(),)) if isinstance(value, Tensor) else NotImplemented


def send(connection: Connection, value: Any) -> None:
    """Send a value whose tensors are on the CPU."""
    message, large = io.BytesIO(), list[memoryview]()

    def stays_in_message(buffer: pickle.PickleBuffer) -> bool:
        content = buffer.raw()
        if content.nbytes >= _MIN_BYTES:
            large.append(content)
        return content.nbytes < _MIN_BYTES

    _Pickler(message, protocol=5, buffer_callback=stays_in_message).dump(value)
    with ExitStack() as opened:
        files = [opened.enter_context(_unnamed_file()) for _ in large]
        for file, content in zip(files, large, strict=True):
            file.write(content)
            file.flush()
        connection.send((len(files), message.getvalue()))
        for file in files:
            reduction.send_handle(connection, file.fileno(), None)


def receive(connection: Connection) -> Any:
    """What `send` sent; the tensors' memory is the receiver's alone.

    Raises:
        EOFError, OSError: the pipe is closed.
    """
    num_files, message = connection.recv()
    buffers = []
    for _ in range(num_files):
        file = reduction.recv_handle(connection)
        try:
            buffers.append(mmap.mmap(file, 0))
        finally:
            os.close(file)
    return pickle.loads(message, buffers=buffers)


def _unnamed_file() -> Any:
    """A file in memory, where the system has them."""
    return os.fdopen(os.memfd_create("tensor"), "wb") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()
