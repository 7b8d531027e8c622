"""One task on many items, in processes that may hang or die without taking the run with them.

A process has one item at a time. One that exceeds the time limit is killed, one that dies is noticed; either is
replaced, and its item is reported.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.workers.worker import Heartbeat, Worker, WorkerFailure, answers, end, pack, process_context
from vitaclip.strings import one_line

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

Ending = Literal["done", "refused", "failed", "timed out", "died"]
"""done: a result. refused: the task raised VideoError. failed: it raised something else. timed out, died: the process
had to be killed, or ended by itself (a signal of the codec, or the system short of memory)."""


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
        processes: how many at a time. 0: all is done in this one, where nothing interrupts an item that hangs.
        time_limit_seconds: for one item; a process that exceeds it is killed.

    Raises:
        ValueError: no time, or a negative number of processes.
        RuntimeError: processes cannot be started at all.
    """
    if processes < 0 or time_limit_seconds <= 0:
        raise ValueError(f"processes = {processes}, time_limit_seconds = {time_limit_seconds}: must not be negative")
    if not processes:
        yield from (Outcome(item, *_attempt(task, item, Heartbeat(process_context()))) for item in items)
        return
    queue, packed = deque(items), pack(partial(_attempt, task))
    busy: dict[Worker, ItemT] = {}

    def submit_next(worker: Worker) -> None:
        busy[worker] = queue.popleft()
        worker.submit(busy[worker])

    try:
        for _ in range(min(processes, len(queue))):
            submit_next(Worker(packed))
        while busy:
            for worker, answer in answers(list(busy), time_limit_seconds):
                item, failed = busy.pop(worker), isinstance(answer, WorkerFailure)
                if failed or not queue:
                    end([worker])
                if queue:
                    submit_next(Worker(packed) if failed else worker)
                if isinstance(answer, WorkerFailure):
                    yield Outcome(item, "timed out" if answer.late else "died", None, answer.problem)
                else:
                    yield Outcome(item, *answer)
    finally:
        end(list(busy))


def _attempt(task: Callable[[Any], Any], item: Any, heartbeat: Heartbeat) -> tuple[Ending, Any, str]:
    """Ending, result, problem."""
    try:
        with heartbeat.at(0):
            return "done", task(item), ""
    except VideoError as error:
        return "refused", None, str(error)
    except Exception as error:  # reported with its item; the other items go on
        return "failed", None, f"{type(error).__name__}: {one_line(error)}"
