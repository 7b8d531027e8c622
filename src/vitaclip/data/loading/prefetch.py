"""Batches made ahead by processes that may hang or die: all of them, in order, whatever happens to the processes.

A process that fails is replaced, and the new one makes its batches again. The video that the old one was reading is in
quarantine by then, so that it is passed over like any other that cannot be read.
"""

import math
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

from vitaclip.data.loading.dataset import Quarantine
from vitaclip.data.reading.container import VideoError
from vitaclip.data.workers.worker import Heartbeat, Worker, WorkerFailure, answers, end, pack
from vitaclip.strings import one_line

BatchT = TypeVar("BatchT")

_BATCHES_AHEAD = 2
"""Batches that each process has to make, at most."""
_MAX_FAILURES = 10
"""Processes that may fail over one batch. Beyond, it is the machine, or all of the data."""


def prefetch(
    make: Callable[[int], BatchT],
    quarantine: Quarantine,
    numbers: Sequence[int],
    workers: int,
    time_limit_seconds: float = math.inf,
) -> Iterator[BatchT]:
    """Batches with these numbers, in this order, made by at least one process.

    Args:
        make: makes a batch of its number; both it and what it reads with `quarantine` are sent to the processes.
        quarantine: stands before each video that `make` reads.
        numbers: all different.
        workers: how many processes.
        time_limit_seconds: for one video; a process that exceeds it is killed.

    Raises:
        VideoError: as `make` does.
        ValueError: too many processes fail over one batch.
        RuntimeError: `make` fails otherwise, or processes cannot be started at all.
    """
    packed, num_packed = pack(partial(_answer, make, quarantine)), len(quarantine.reasons)
    waiting, made = deque(numbers), dict[int, BatchT | Exception]()
    jobs: dict[Worker, list[int]] = {}  # numbers of the batches that each process is to make, in this order
    num_sent: dict[Worker, int] = {}  # videos in quarantine that it has heard of
    failures = Counter[int]()  # by the batch that the process was making

    def submit(worker: Worker, number: int) -> None:
        """Send a job with the videos quarantined since this worker last heard of some. Sending only the new ones keeps
        the message small: a full pipe would block this process."""
        jobs[worker].append(number)
        worker.submit((number, dict(islice(quarantine.reasons.items(), num_sent[worker], None))))
        num_sent[worker] = len(quarantine.reasons)

    def start(again: Iterable[int] = ()) -> None:
        worker = Worker(packed)
        jobs[worker], num_sent[worker] = [], num_packed
        for number in again:
            submit(worker, number)

    def refill() -> None:
        while waiting and len(made) + sum(map(len, jobs.values())) < _BATCHES_AHEAD * workers:
            submit(min(jobs, key=lambda worker: len(jobs[worker])), waiting.popleft())

    def replace(worker: Worker, failure: WorkerFailure) -> None:
        unfinished = jobs.pop(worker)
        end([worker])
        if failure.item is not None:
            quarantine.add(failure.item, failure)
        failures.update(unfinished[:1])
        if unfinished and failures[unfinished[0]] >= _MAX_FAILURES:
            raise ValueError(
                f"{_MAX_FAILURES} processes were lost over one batch; the last {failure.problem}. Use fewer workers if"
                " memory is short, else find the bad files with `vitaclip data scan`"
            )
        start(unfinished)

    try:
        for _ in range(min(workers, len(numbers))):
            start()
        refill()
        for due in numbers:
            while due not in made:
                for worker, answer in answers(list(jobs), time_limit_seconds):
                    if isinstance(answer, WorkerFailure):
                        replace(worker, answer)
                    else:
                        number, made[number] = answer
                        jobs[worker].remove(number)
            batch = made.pop(due)
            if isinstance(batch, Exception):
                raise batch
            refill()
            yield batch
    finally:
        end(list(jobs))


def _answer(
    make: Callable[[int], BatchT], quarantine: Quarantine, job: tuple[int, dict[int, str]], heartbeat: Heartbeat
) -> tuple[int, BatchT | Exception]:
    """What runs in a process: makes a batch, or says what it fails of."""
    number, reasons = job
    quarantine.heartbeat = heartbeat
    quarantine.reasons |= reasons
    try:
        return number, make(number)
    except VideoError as error:
        return number, VideoError(str(error))  # one line; where it was raised says nothing to the user
    except Exception as error:
        failure = RuntimeError(f"a process that makes batches failed: {type(error).__name__}: {one_line(error)}")
        failure.add_note(traceback.format_exc())
        return number, failure
