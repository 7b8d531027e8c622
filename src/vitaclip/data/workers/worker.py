"""A process that may hang, in code that no signal of Python's interrupts, or die: it is watched from outside.

It has one item at a time and says in shared memory what it reads and since when. One that is late is killed, one that
ends by itself is noticed; both are reported with what they were reading, and whoever started them starts others.

Processes are forked from a server: a clean process that has imported what they need and runs no thread. A fork of this
process would inherit locks that its threads (progress bars, torch, CUDA, NCCL) hold and that nobody would ever open.
"""

import atexit
import fcntl
import math
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess, parent_process
from typing import Any

import torch

from vitaclip.data.config import DataConfig
from vitaclip.data.workers import shared_tensors
from vitaclip.data.workers.memory import memory_limit
from vitaclip.runtime import keep_freed_memory

_PRELOADED = ["vitaclip.data.workers.server", "vitaclip.data"]
"""What the fork server imports, in this order, so that a process starts in milliseconds. The names are strings, because
this package must not import what stands above it."""
_SECONDS_TO_END = 5.0
_SECOND_LOOK_SECONDS = 2.0


def process_context() -> Any:
    """The multiprocessing context: `forkserver` where the platform has it, else `spawn`.

    Each process imports the program that asks for it, so a script needs `if __name__ == "__main__":` around what it
    does.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def expect_processes(data: DataConfig) -> None:
    """Have the server start while the caller does something else, if processes are to read videos: it takes seconds.

    A run with a feature cache does not: it starts processes only if features are missing.
    """
    if data.workers and not data.feature_cache and process_context().get_start_method() == "forkserver":
        ensure_running()


class Heartbeat:
    """What a process reads and since when, in memory that its parent can read while it hangs and after its end."""

    def __init__(self, context: Any) -> None:
        self.started = context.RawValue("b", 0)
        """Whether the process ever was there and knew its task."""
        self._item, self._since = context.RawValue("q", 0), context.RawValue("d", 0.0)

    @contextmanager
    def at(self, item: int) -> Iterator[None]:
        """The process reads `item`, a number from 0, while the block runs; see also `memory_limit`."""
        self._item.value, self._since.value = item, time.monotonic()
        try:
            with memory_limit():
                yield
        finally:
            self._since.value = 0.0

    @property
    def since(self) -> float:
        """When it began to read its item, on the system's monotonic clock; 0 if it reads none."""
        since: float = self._since.value
        return since

    @property
    def item(self) -> int | None:
        """What it reads."""
        return self._item.value if self.since else None


@dataclass(frozen=True)
class WorkerFailure:
    """In place of an answer: the process had to be killed, or ended by itself."""

    item: int | None
    """What it was reading; None if nothing."""
    late: bool
    """Whether it was killed for being late."""
    problem: str
    """What the item did, without naming it."""


Task = Callable[[Any, Heartbeat], Any]
"""Turns an item into an answer; it and both travel between processes."""


def pack(task: Task) -> bytes:
    """A task as it travels, for as many processes as wanted: one with a long list in it is packed once."""
    return pickle.dumps(task, pickle.HIGHEST_PROTOCOL)


class Worker:
    """A process, and our end of the pipe to it. It ends with the process that started it."""

    def __init__(self, packed: bytes) -> None:
        """`packed`: what it does with each item, by `pack`."""
        context = process_context()
        self.heartbeat = Heartbeat(context)
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self._second_look: tuple[float, float] | None = None  # since when it read something, when to look again
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, self.heartbeat, packed), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe breaks when the process ends
        atexit.register(self.process.kill)  # else the interpreter would wait for it for ever

    def submit(self, item: Any) -> None:
        """Send an item. A process that has ended does not get it; `answers` reports that."""
        with suppress(OSError):
            self.connection.send(item)

    def seconds_left(self, time_limit_seconds: float) -> float:
        """How long it may go on before it is looked at again; at most 0 if it is late."""
        now, since = time.monotonic(), self.heartbeat.since
        if not since:
            return time_limit_seconds
        if now < since + time_limit_seconds:
            return since + time_limit_seconds - now
        # It may have been stopped along with us (Ctrl-Z, a cluster that suspends jobs), and be done in a moment.
        if self._second_look is None or self._second_look[0] != since:
            self._second_look = since, now + min(time_limit_seconds, _SECOND_LOOK_SECONDS)
        return self._second_look[1] - now

    def answer(self) -> Any:
        """What it has sent; `WorkerFailure` if it has ended instead.

        Raises:
            RuntimeError: it has ended of itself before it began.
        """
        try:
            return shared_tensors.receive(self.connection)
        except (EOFError, OSError):
            return self._failure(late=False)

    def stop_late(self) -> WorkerFailure:
        """Kill it for being late."""
        since = self.heartbeat.since
        self.process.kill()
        failure = self._failure(late=True)
        # In the last moment it may have gone on to another item, which is not to blame.
        return failure if self.heartbeat.since == since else WorkerFailure(None, True, failure.problem)

    def _failure(self, late: bool) -> WorkerFailure:
        self.process.join(_SECONDS_TO_END)
        code = self.process.exitcode or 0
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if code > 0 and not self.heartbeat.started.value:
            raise RuntimeError(
                f"processes cannot be started ({cause}); a script needs `if __name__ == '__main__':` around its calls"
            )
        ended = f"ended the process that read it ({cause})"
        return WorkerFailure(self.heartbeat.item, late, "took longer than the time limit" if late else ended)


def answers(workers: Sequence[Worker], time_limit_seconds: float = math.inf) -> Iterator[tuple[Worker, Any]]:
    """Wait until some have something to say, are late or have ended; each with its answer or `WorkerFailure`.

    Args:
        workers: at least one.
        time_limit_seconds: for one item.
    """
    seconds = max(0.0, min(worker.seconds_left(time_limit_seconds) for worker in workers))
    ready = wait([worker.connection for worker in workers], None if seconds == math.inf else seconds)
    for worker in workers:
        if worker.connection in ready:
            yield worker, worker.answer()
        elif worker.seconds_left(time_limit_seconds) <= 0:
            yield worker, worker.stop_late()


def end(workers: Sequence[Worker]) -> None:
    """End processes at once, whatever they are doing."""
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join()
        worker.connection.close()
        atexit.unregister(worker.process.kill)


def _serve(connection: Connection, heartbeat: Heartbeat, packed: bytes) -> None:
    """What runs in the process: item in, answer out, until the pipe is closed."""
    # Ctrl-C, a closed terminal (SIGHUP), and on clusters SIGTERM reach all processes of a job. Only the main process
    # handles them: it may need what is on its way, and then ends its workers.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if not _tied_to_main():
        return
    keep_freed_memory()
    torch.set_num_threads(1)
    task = pickle.loads(packed)
    heartbeat.started.value = 1
    with suppress(EOFError, OSError):
        while True:
            shared_tensors.send(connection, task(connection.recv(), heartbeat))


def _tied_to_main() -> bool:
    """Have this process end with the main one, in whatever code it is then; False if that has ended already."""
    main = parent_process()
    assert main is not None
    if sys.platform == "linux":  # elsewhere the pipe's end is noticed between two items
        # The system sends SIGIO, which ends a process, once nobody holds the other end of this pipe.
        fcntl.fcntl(main.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(main.sentinel, fcntl.F_SETFL, fcntl.fcntl(main.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    return main.is_alive()
