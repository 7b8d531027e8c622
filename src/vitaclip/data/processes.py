"""One task on many items, in processes that may hang or die without taking the run with them.

A process has one item at a time. One that exceeds the time limit is killed, one that dies is noticed; either is
replaced, and its item is reported.
"""

import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Literal, TypeVar

import torch

from vitaclip.data.container import VideoError
from vitaclip.data.shards.member import VideoPath

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

Ending = Literal["done", "refused", "failed", "timed out", "died"]
"""done: a result. refused: the task raised VideoError. failed: it raised something else. timed out, died: the process
had to be killed, or ended by itself (a signal of the codec, or the system short of memory)."""

_READY = "ready"
_SECONDS_TO_END = 5.0
_LONGEST_WAIT = 60.0  # seconds; no deadline runs while a process starts


@dataclass(frozen=True)
class Outcome(Generic[ItemT, ResultT]):
    """How one item fared."""

    item: ItemT
    ending: Ending
    result: ResultT | None = None
    """There if and only if `ending` is done."""
    problem: str = ""
    """What went wrong, in one line."""


def name_problem(path: VideoPath, problem: str) -> str:
    """The problem with the path in front, unless it names it already."""
    return problem if str(path) in problem else f"{path}: {problem}"


def run_in_processes(
    task: Callable[[ItemT], ResultT], items: Iterable[ItemT], processes: int, time_limit_seconds: float
) -> Generator[Outcome[ItemT, ResultT], None, None]:
    """Outcomes of all items, in the order in which they are done.

    Args:
        task: importable by name; it, the items and the results travel between processes.
        items: what to do.
        processes: how many at a time, at least 1.
        time_limit_seconds: for one item; a process that exceeds it is killed.

    Raises:
        ValueError: no process, or no time.
        RuntimeError: processes cannot be started at all.
    """
    if processes < 1 or time_limit_seconds <= 0:
        raise ValueError(f"processes = {processes}, time_limit_seconds = {time_limit_seconds}: both must be above 0")
    queue = deque(items)
    workers: list[_Worker] = []
    try:
        workers += [_Worker(task) for _ in range(min(processes, len(queue)))]
        while workers:
            nearest = min(worker.deadline for worker in workers)
            wait([worker.connection for worker in workers], min(max(0.0, nearest - time.monotonic()), _LONGEST_WAIT))
            for worker in list(workers):
                reply = worker.reply()
                if reply is None:
                    continue
                item, (ending, result, problem) = worker.item, reply
                if ending in ("timed out", "died"):
                    problem = problem or worker.cause_of_death()
                    worker.end()
                    workers.remove(worker)
                    if queue:
                        workers.append(_Worker(task))
                elif queue:
                    worker.give(queue.popleft(), time_limit_seconds)
                else:
                    worker.end()
                    workers.remove(worker)
                if ending != _READY:
                    yield Outcome(item, ending, result, problem)
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process, and our end of the line to it."""

    def __init__(self, task: Callable[[Any], Any]) -> None:
        # Not plain fork: threads of this process (progress bars, torch) would leave locks behind that nobody opens.
        kinds = multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context("forkserver" if "forkserver" in kinds else "spawn")
        if "forkserver" in kinds:
            context.set_forkserver_preload([__name__])  # so that a replacement starts in milliseconds
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.item: Any = None
        self.deadline = float("inf")
        self._task_given = False
        self._process: BaseProcess = context.Process(target=_serve, args=(theirs, task), daemon=True)
        self._process.start()
        theirs.close()  # so that the line breaks when the process ends

    def give(self, item: Any, time_limit_seconds: float) -> None:
        """Sends an item."""
        self.item, self._task_given = item, True
        self.deadline = time.monotonic() + time_limit_seconds
        self.connection.send(item)

    def reply(self) -> tuple[Any, Any, str] | None:
        """(ending, result, problem), or None while the process is at work."""
        if self.connection.poll():
            try:
                reply: tuple[Any, Any, str] = self.connection.recv()
            except (EOFError, OSError):
                return "died", None, ""
            return reply
        if time.monotonic() >= self.deadline:
            return "timed out", None, "took longer than the time limit"
        return None

    def cause_of_death(self) -> str:
        """What the system says about a process that ended by itself.

        Raises:
            RuntimeError: it ended before it was given anything.
        """
        if not self._task_given:
            raise RuntimeError(
                "processes cannot be started; a script needs `if __name__ == '__main__':` around its call"
            )
        self._process.join(_SECONDS_TO_END)
        code = self._process.exitcode or 0
        return f"ended the process that read it ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"

    def end(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection, task: Callable[[Any], Any]) -> None:
    """What runs in the process: item in, reply out, until the line is closed."""
    # Ctrl-C reaches the whole process group; the main process alone answers it, and then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    connection.send((_READY, None, ""))
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        connection.send(_attempt(task, item))


def _attempt(task: Callable[[Any], Any], item: Any) -> tuple[Ending, Any, str]:
    try:
        return "done", task(item), ""
    except VideoError as error:
        return "refused", None, str(error)
    except Exception as error:  # reported with its item; the other items go on
        return "failed", None, f"{type(error).__name__}: {' '.join(str(error).split())}"
