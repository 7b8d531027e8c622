"""Batches made ahead by processes that may hang or die: all of them, in order, whatever happens to the processes.

A process that is lost is replaced, and the new one makes its batches again. The video that the old one was reading is
on record by then, so that it is passed over like any other that cannot be read.
"""

import math
import traceback
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Generic, Protocol, TypeVar

from vitaclip.data.loading.guard import Guard
from vitaclip.data.reading.container import VideoError
from vitaclip.data.workers.worker import Lost, Mark, Worker, answers, end, pack
from vitaclip.files import one_line

BatchT = TypeVar("BatchT")
MadeT = TypeVar("MadeT", covariant=True)

_AHEAD = 2
"""Batches that each process has to make, at most."""
_MOST_LOST = 10
"""Processes that may be lost over one batch. Beyond, it is the machine, or all of the data."""


class Maker(Protocol[MadeT]):
    """Makes batches by their number. Travels to other processes."""

    @property
    def guard(self) -> Guard:
        """Stands before each video that is read."""

    def make(self, number: int) -> MadeT:
        """Batch `number`."""


def make_ahead(
    maker: Maker[BatchT], numbers: Sequence[int], workers: int, time_limit_seconds: float = math.inf
) -> Iterator[BatchT]:
    """Batches with these numbers, in this order, made by at least one process.

    Args:
        maker: what makes them.
        numbers: all different.
        workers: how many processes.
        time_limit_seconds: for one video; a process that exceeds it is killed.

    Raises:
        VideoError: as the maker does.
        ValueError: too many processes are lost over one batch.
        RuntimeError: the maker fails otherwise, or processes cannot be started at all.
    """
    pool = _Pool(maker)
    waiting, made = deque(numbers), dict[int, BatchT | Exception]()

    def give_out() -> None:
        while waiting and len(made) + pool.jobs < _AHEAD * workers:
            pool.give(waiting.popleft())

    try:
        pool.start(min(workers, len(numbers)))
        give_out()
        for due in numbers:
            while due not in made:
                made |= pool.collect(time_limit_seconds)
            batch = made.pop(due)
            if isinstance(batch, Exception):
                raise batch
            give_out()
            yield batch
    finally:
        pool.end()


class _Pool(Generic[BatchT]):
    """The processes and what each has to make."""

    def __init__(self, maker: Maker[BatchT]) -> None:
        self._maker, self._packed = maker, pack(partial(_make, maker))
        self._packed_deadly = len(maker.guard.deadly)
        self._hands: dict[Worker, _Hand] = {}
        self._lost: Counter[int] = Counter()  # processes, by the batch they were at

    def start(self, workers: int) -> None:
        """Starts processes."""
        for _ in range(workers):
            self._start_one(())

    @property
    def jobs(self) -> int:
        """Batches that are given out and not made."""
        return sum(len(hand.jobs) for hand in self._hands.values())

    def give(self, number: int) -> None:
        """Has a batch made by the process that has least to do."""
        worker = min(self._hands, key=lambda worker: len(self._hands[worker].jobs))
        self._give(worker, number)

    def collect(self, time_limit_seconds: float) -> dict[int, BatchT | Exception]:
        """Waits for something to happen; the batches that are made now."""
        made = {}
        for worker, answer in answers(list(self._hands), time_limit_seconds):
            if isinstance(answer, Lost):
                self._replace(worker, answer)
            else:
                number, made[number] = answer
                self._hands[worker].jobs.remove(number)
        return made

    def end(self) -> None:
        """Ends the processes."""
        end(list(self._hands))

    def _start_one(self, jobs: Iterable[int]) -> None:
        worker = Worker(self._packed)
        self._hands[worker] = _Hand(told=self._packed_deadly)
        for number in jobs:
            self._give(worker, number)

    def _give(self, worker: Worker, number: int) -> None:
        """Sends a job with what has come to light since the process started, which alone does not fill its line."""
        hand, deadly = self._hands[worker], self._maker.guard.deadly
        hand.jobs.append(number)
        worker.give((number, dict(islice(deadly.items(), hand.told, None))))
        hand.told = len(deadly)

    def _replace(self, worker: Worker, lost: Lost) -> None:
        """Puts what was being read on record, and has the jobs done by a new process.

        Raises:
            ValueError: too many were lost over one batch.
        """
        jobs = self._hands.pop(worker).jobs
        end([worker])
        if lost.item is not None:
            self._maker.guard.blame(lost.item, lost)
        self._lost.update(jobs[:1])
        if jobs and self._lost[jobs[0]] >= _MOST_LOST:
            raise ValueError(
                f"{_MOST_LOST} processes were lost over one batch; the last {lost.problem}. Use fewer workers if"
                " memory is short, else find the bad files with `vitaclip data scan`"
            )
        self._start_one(jobs)


@dataclass
class _Hand:
    """What a process has to do and knows."""

    told: int
    """How many deadly rows it has heard of."""
    jobs: list[int] = field(default_factory=list)
    """Numbers of the batches it is to make, in this order."""


def _make(maker: Maker[BatchT], job: tuple[int, dict[int, str]], mark: Mark) -> tuple[int, BatchT | Exception]:
    """What runs in a process: makes a batch, or says what it fails of."""
    number, deadly = job
    maker.guard.mark = mark
    maker.guard.deadly |= deadly
    try:
        return number, maker.make(number)
    except VideoError as error:
        return number, VideoError(str(error))  # one line; where it was raised says nothing to the user
    except Exception as error:
        failure = RuntimeError(f"a process that makes batches failed: {type(error).__name__}: {one_line(error)}")
        failure.add_note(traceback.format_exc())
        return number, failure
