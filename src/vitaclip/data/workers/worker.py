"""A process that may hang, in code that no signal of Python's interrupts, or die: it is watched from outside.

It has one item at a time and says in shared memory what it is at and since when. One that is late is killed, one that
ends by itself is noticed; both are reported with what they were at, and whoever started them starts others.
"""

import atexit
import fcntl
import math
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess, parent_process
from typing import Any

import torch

from vitaclip.data.workers import shared_tensors
from vitaclip.data.workers.memory import memory_limit
from vitaclip.data.workers.starting import process_context
from vitaclip.runtime import keep_freed_memory

_SECONDS_TO_END = 5.0
_SECOND_LOOK_SECONDS = 2.0


class Mark:
    """What a process is at, in memory shared with the one that started it: legible while it hangs and after its end."""

    def __init__(self, context: Any) -> None:
        self._begun = context.RawValue("b", 0)
        self._item, self._since = context.RawValue("q", 0), context.RawValue("d", 0.0)

    def begin(self) -> None:
        """The process is there and knows its task."""
        self._begun.value = 1

    @property
    def begun(self) -> bool:
        """Whether it ever was there."""
        return bool(self._begun.value)

    @contextmanager
    def at(self, item: int) -> Iterator[None]:
        """The process is at `item`, a number from 0, while the block runs; see also `memory_limit`."""
        self._item.value = item
        self._since.value = time.monotonic()
        try:
            with memory_limit():
                yield
        finally:
            self._since.value = 0.0

    @property
    def since(self) -> float:
        """When it began what it is at, on the system's monotonic clock; 0 if it is at nothing."""
        since: float = self._since.value
        return since

    @property
    def item(self) -> int | None:
        """What it is at."""
        return self._item.value if self.since else None


@dataclass(frozen=True)
class Lost:
    """In place of an answer: the process had to be killed, or ended by itself."""

    item: int | None
    """What it was at; None if at nothing."""
    late: bool
    """Whether it was killed for being late."""
    problem: str
    """What the item did, without naming it."""


Task = Callable[[Any, Mark], Any]
"""Turns an item into an answer; it and both travel between processes."""


def pack(task: Task) -> bytes:
    """A task as it travels, for as many processes as wanted: one with a long list in it is packed once."""
    return pickle.dumps(task, pickle.HIGHEST_PROTOCOL)


class Worker:
    """A process, and our end of the line to it. Ends with the one that started it."""

    def __init__(self, packed: bytes) -> None:
        """`packed`: what it does with each item, by `pack`."""
        context = process_context()
        self.mark = Mark(context)
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self._second_look: tuple[float, float] | None = None  # since when it was at something, when to look again
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs, self.mark, packed), daemon=True)
        self._process.start()
        theirs.close()  # so that the line breaks when the process ends
        atexit.register(self._process.kill)  # else the interpreter would wait for it for ever

    def give(self, item: Any) -> None:
        """Sends an item. One that has ended does not get it; `answers` tells."""
        with suppress(OSError):
            self.connection.send(item)

    def seconds_left(self, time_limit_seconds: float) -> float:
        """How long it may go on before it is looked at again; none if it is late."""
        now, since = time.monotonic(), self.mark.since
        if not since:
            return time_limit_seconds
        if now < since + time_limit_seconds:
            return since + time_limit_seconds - now
        # It may have been stopped along with us (Ctrl-Z, a cluster that suspends jobs), and be done in a moment.
        if self._second_look is None or self._second_look[0] != since:
            self._second_look = since, now + min(time_limit_seconds, _SECOND_LOOK_SECONDS)
        return self._second_look[1] - now

    def answer(self) -> Any:
        """What it has sent; `Lost` if it has ended instead.

        Raises:
            RuntimeError: it has ended of itself before it began.
        """
        try:
            return shared_tensors.receive(self.connection)
        except (EOFError, OSError):
            return self._lost(late=False)

    def stop_late(self) -> Lost:
        """Kills it for being late."""
        since = self.mark.since
        self._process.kill()
        lost = self._lost(late=True)
        # In the last moment it may have gone on to another item, which is not to blame.
        return lost if self.mark.since == since else Lost(None, True, lost.problem)

    def _lost(self, late: bool) -> Lost:
        self._process.join(_SECONDS_TO_END)
        code = self._process.exitcode or 0
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if code > 0 and not self.mark.begun:
            raise RuntimeError(
                f"processes cannot be started ({cause}); a script needs `if __name__ == '__main__':` around its calls"
            )
        ended = f"ended the process that read it ({cause})"
        return Lost(self.mark.item, late, "took longer than the time limit" if late else ended)


def answers(workers: Sequence[Worker], time_limit_seconds: float = math.inf) -> Iterator[tuple[Worker, Any]]:
    """Waits until some have something to say, are late or have ended; each with its answer or `Lost`.

    Args:
        workers: at least one.
        time_limit_seconds: for what a process says it is at.
    """
    seconds = max(0.0, min(worker.seconds_left(time_limit_seconds) for worker in workers))
    ready = wait([worker.connection for worker in workers], None if seconds == math.inf else seconds)
    for worker in workers:
        if worker.connection in ready:
            yield worker, worker.answer()
        elif worker.seconds_left(time_limit_seconds) <= 0:
            yield worker, worker.stop_late()


def end(workers: Sequence[Worker]) -> None:
    """Ends processes at once, whatever they are doing."""
    for worker in workers:
        worker._process.kill()
    for worker in workers:
        worker._process.join()
        worker.connection.close()
        atexit.unregister(worker._process.kill)


def _serve(connection: Connection, mark: Mark, packed: bytes) -> None:
    """What runs in the process: item in, answer out, until the line is closed."""
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
    mark.begin()
    with suppress(EOFError, OSError):
        while True:
            shared_tensors.send(connection, task(connection.recv(), mark))


def _tied_to_main() -> bool:
    """Has this process end with the main one, in whatever code it is then; False if that has ended already."""
    main = parent_process()
    assert main is not None
    if sys.platform == "linux":  # elsewhere the line's end is noticed between two items
        # The system sends SIGIO, which ends a process, once nobody holds the other end of this pipe.
        fcntl.fcntl(main.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(main.sentinel, fcntl.F_SETFL, fcntl.fcntl(main.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    return main.is_alive()
