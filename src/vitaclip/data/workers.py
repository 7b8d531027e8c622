"""Processes that read videos, watched from outside: a codec may hang where no signal of Python's reaches it, or crash.

A worker says in shared memory which item it reads and since when. One that is late is killed, one that ends by itself
is noticed, and another takes its place.

Workers are forked from a server: a clean process that has imported what they need and runs no thread. A fork of this
process would inherit locks that its threads (progress bars, torch, CUDA, NCCL) hold and that nobody would ever open.
The server itself may be one, as long as there is no other thread yet: see `expect_processes`.

Large tensors travel through shared memory. Nothing but the pipe and the memory is used, and both stay when the sender
hangs or is killed right after sending (torch's own way asks the sender for the memory later). The memory has no name
that could be left behind.
"""

import atexit
import ctypes
import fcntl
import gc
import io
import math
import mmap
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from multiprocessing import reduction, resource_tracker, util
from multiprocessing.connection import Connection, wait
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import parent_process
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor

from vitaclip.data.config import DataConfig
from vitaclip.data.reading.container import VideoError
from vitaclip.runtime import keep_freed_memory
from vitaclip.strings import one_line

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

MAX_BYTES = 2 << 30
"""Memory to read one video in: more than the largest frames that `VideoLimits` lets through need, with all that a codec
keeps of them."""
_MIN_BYTES = 4096  # a smaller tensor travels in the message
_POLL_SECONDS = 0.2
_SECOND_LOOK_SECONDS = 2.0
_SECONDS_TO_END = 5.0
_SIGNALS_OF_MAIN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a cluster that wants a job to end, and a terminal that is closed send them to all processes of the job. Only
the main process handles them: it may need what is on its way, and then ends its workers."""

Ending = Literal["done", "refused", "failed", "timed out", "died"]
"""done: a result. refused: the task raised VideoError. failed: it raised something else. timed out, died: the worker
had to be killed, or ended by itself (a signal of the codec, or the system short of memory)."""


@dataclass(frozen=True)
class Outcome(Generic[ItemT, ResultT]):
    """How one job fared."""

    item: ItemT
    """The job."""
    ending: Ending
    result: ResultT | None = None
    """There if and only if `ending` is done."""
    error: Exception | None = None
    """In one line, what went wrong; the traceback of what failed unexpectedly is its note."""

    @property
    def is_lost(self) -> bool:
        """Whether it cost a worker."""
        return self.ending in ("timed out", "died")

    @property
    def problem(self) -> str:
        """What went wrong, in one line that names the item; empty if nothing did."""
        if self.error is None:
            return ""
        return str(self.error) if str(self.item) in str(self.error) else f"{self.item}: {self.error}"


class _State(ctypes.Structure):
    """What a worker does, in memory that its parent can read while it hangs and after its end."""

    _fields_ = (("started", ctypes.c_bool), ("item", ctypes.c_int64), ("since", ctypes.c_double))
    started: bool  # whether the process ever was there and knew its task
    item: int  # what it reads, or read last
    since: float  # when it began to, on the system's monotonic clock; 0 if it reads nothing


# In a worker: its own state, and why some items must not be read.
_state: _State | None = None
_refused: dict[int, str] = {}


@contextmanager
def reading(item: int, name: object) -> Iterator[None]:
    """A context in which an item is read. In a worker its time and memory are limited.

    Args:
        item: a number that tells it from the others.
        name: how the error calls it.

    Raises:
        VideoError: a worker was lost over this item before, which is not to happen again.
    """
    if item in _refused:
        raise VideoError(f"{name} {_refused[item]}")
    if _state is None:
        yield
        return
    earlier, most = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        lower = [limit for limit in (has + MAX_BYTES, earlier, most) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min(lower), most))
    _state.item, _state.since = item, time.monotonic()
    try:
        yield
    finally:
        _state.since = 0.0
        resource.setrlimit(resource.RLIMIT_AS, (earlier, most))


class WorkerPool(Generic[ItemT, ResultT]):
    """Workers that do one task, each with a line of jobs. They end with the block, and with this process."""

    def __init__(
        self,
        task: Callable[[ItemT], ResultT],
        workers: int,
        time_limit_seconds: float = math.inf,
        refused: dict[int, str] | None = None,
    ) -> None:
        """Args:
        task: turns a job into a result, each item of it read in `reading`. It, jobs and results are pickled.
        workers: how many, at least 1. Each imports the program that starts it, so a script needs
            `if __name__ == "__main__":` around what it does.
        time_limit_seconds: for one item; a worker that exceeds it is killed.
        refused: why some items must not be read; those that kill workers are added.
        """
        self._packed = pickle.dumps(task, pickle.HIGHEST_PROTOCOL)
        self._num_workers, self._limit, self._refused = workers, time_limit_seconds, refused
        self._workers: list[_Worker] = []

    def __enter__(self) -> "WorkerPool[ItemT, ResultT]":
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers at once, whatever they are doing."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()

    @property
    def pending(self) -> int:
        """Number of jobs without an outcome."""
        return sum(len(worker.jobs) for worker in self._workers)

    def submit(self, job: ItemT) -> None:
        """Give a job to the worker with the shortest line."""
        if len(self._workers) < self._num_workers and all(worker.jobs for worker in self._workers):
            self._workers.append(_Worker(self._packed))
        min(self._workers, key=lambda worker: len(worker.jobs)).submit(job, self._refused or {})

    def collect(self) -> Iterator[Outcome[ItemT, ResultT]]:
        """Outcomes that are there within a moment, perhaps none. Jobs behind one that costs its worker go to others.

        Raises:
            RuntimeError: workers cannot be started at all.
        """
        workers = [worker for worker in self._workers if worker.jobs]
        ready = wait([worker.connection for worker in workers], min(self._limit, _POLL_SECONDS))
        for worker in workers:
            item = worker.state.item if worker.state.since else None
            if worker.connection in ready:
                outcome = worker.outcome()
            elif worker.is_late(self._limit):
                outcome = _lost(
                    worker.jobs[0], "timed out", "took longer than the time limit", "raise time_limit_seconds"
                )
            else:
                continue
            worker.jobs.popleft()
            if outcome.is_lost:
                self._workers.remove(worker)
                worker.end()
                if item is not None and self._refused is not None:
                    self._refused[item] = str(outcome.error)
                for job in worker.jobs:
                    self.submit(job)
            yield outcome


class _Worker:
    """A process, our end of the pipe to it, and the jobs that it has not answered."""

    def __init__(self, packed: bytes) -> None:
        context = process_context()
        self.state: _State = context.RawValue(_State)
        self.jobs = deque[Any]()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.state, packed), daemon=True)
        with _signals_blocked():
            self.process.start()
        theirs.close()  # so that the pipe breaks when the process ends
        atexit.register(self.process.kill)  # else the interpreter would wait for it for ever

    def submit(self, job: Any, refused: dict[int, str]) -> None:
        """Send a job with the items that are refused."""
        self.jobs.append(job)
        with suppress(ConnectionError):  # that it has ended is noticed where the answer is due
            _send(self.connection, (job, refused))

    def is_late(self, time_limit_seconds: float) -> bool:
        """Whether it reads an item for too long, also at a second look."""
        since = self.state.since
        if not since or time.monotonic() < since + time_limit_seconds:
            return False
        # It may have been stopped along with us (Ctrl-Z, a cluster that suspends jobs), and be done in a moment.
        wait([self.connection], min(time_limit_seconds, _SECOND_LOOK_SECONDS))
        return self.state.since == since

    def outcome(self) -> Outcome[Any, Any]:
        """What it has sent, or how it has ended instead."""
        with suppress(EOFError, OSError):
            return replace(_receive(self.connection), item=self.jobs[0])
        self.process.join(_SECONDS_TO_END)
        code = self.process.exitcode or 0
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if code > 0 and not self.state.started:
            raise RuntimeError(
                f"processes cannot be started ({cause}); a script needs `if __name__ == '__main__':` around its calls"
            )
        problem = f"ended the process that read it ({cause})"
        return _lost(self.jobs[0], "died", problem, "use fewer workers if memory is short")

    def end(self) -> None:
        """End the process at once; its state can still be read."""
        self.process.kill()
        self.process.join()
        self.connection.close()
        atexit.unregister(self.process.kill)


def _lost(job: Any, ending: Ending, problem: str, remedy: str) -> Outcome[Any, Any]:
    return Outcome(job, ending, None, VideoError(f"{problem}: leave it out, or {remedy}"))


def _attempt(task: Callable[[ItemT], ResultT], job: ItemT) -> Outcome[ItemT, ResultT]:
    try:
        return Outcome(job, "done", task(job))
    except VideoError as error:
        return Outcome(job, "refused", None, VideoError(str(error)))
    except Exception as error:
        failure = RuntimeError(f"{type(error).__name__}: {one_line(error)}")
        failure.add_note(traceback.format_exc())
        return Outcome(job, "failed", None, failure)


def process_context() -> Any:
    """The multiprocessing context in which workers start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vitaclip.data.loading.loader"])  # so that a process starts in milliseconds
    return context


def expect_processes(data: DataConfig) -> None:
    """Have the server start now, if workers are to read videos; best before all else, as even pyarrow starts threads.

    While this process has one thread, nobody can hold a lock: then the server is a fork of it, there at once with all
    that is imported. Else it is a new program that imports torch again, which takes seconds, beside what the caller
    does next. A run with a feature cache expects none: it starts workers only if features are missing.
    """
    if data.workers and not data.feature_cache and process_context().get_start_method() == "forkserver":
        start_program = util.spawnv_passfds
        with _signals_blocked():
            if sys.platform == "linux" and len([*Path("/proc/self/task").iterdir()]) == 1:
                util.spawnv_passfds = _fork_program
            try:
                ensure_running()
            finally:
                util.spawnv_passfds = start_program


def _fork_program(path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
    """Does what `spawnv_passfds` does for `python -c CODE`, but runs the code in a fork: with these files alone."""
    del path
    sys.stdout.flush()  # else both processes would write what waits here
    sys.stderr.flush()
    if process := os.fork():
        return process
    try:
        gc.freeze()  # a file of ours that is collected would close another's: its number is free from now on
        for number in {int(file.name) for file in Path("/proc/self/fd").iterdir()} - {0, 1, 2, *passfds}:
            with suppress(OSError):  # the listing's own
                os.close(number)
        exec(args[-1], {})
    except Exception:
        traceback.print_exc()  # as the program itself would
    finally:
        os._exit(0)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """What starts in the block never gets the signals that are for the main process: neither workers, from their first
    moment on, nor their server. With it all workers would end, and the videos being decoded be taken for bad ones."""
    resource_tracker.ensure_running()  # first, because it unblocks signals when it starts
    earlier = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS_OF_MAIN)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, earlier)


def _serve(connection: Any, state: _State, packed: bytes) -> None:
    """What runs in a worker: job in, answer out, until the pipe is closed."""
    global _state
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS_OF_MAIN)  # again: another library may have started the server
    if not _tied_to_main():
        return
    keep_freed_memory()
    torch.set_num_threads(1)
    task = pickle.loads(packed)
    _state, state.started = state, True
    with suppress(EOFError, ConnectionError):
        while True:
            job, refused = _receive(connection)
            _refused.update(refused)
            # The job itself stays here: it may hold a video.
            _send(connection, replace(_attempt(task, job), item=None))


def _tied_to_main() -> bool:
    """Have this process end with the main one, in whatever code it is then; False if that has ended already."""
    main = parent_process()
    assert main is not None
    if sys.platform == "linux":  # elsewhere the pipe's end is noticed between two jobs
        # The system sends SIGIO, which ends a process, once nobody holds the other end of this pipe.
        fcntl.fcntl(main.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(main.sentinel, fcntl.F_SETFL, fcntl.fcntl(main.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    return main.is_alive()


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
        RuntimeError: processes cannot be started at all.
    """
    waiting = iter(items)
    if not processes:
        yield from (_attempt(task, item) for item in waiting)
        return
    with WorkerPool(partial(_read_item, task), processes, time_limit_seconds) as pool:
        for item in islice(waiting, processes):
            pool.submit(item)
        while pool.pending:
            for outcome in pool.collect():
                for item in islice(waiting, 1):
                    pool.submit(item)
                yield outcome


def _read_item(task: Callable[[ItemT], ResultT], item: ItemT) -> ResultT:
    with reading(0, item):
        return task(item)


class _Pickler(pickle.Pickler):
    """Takes tensors for arrays, whose content pickle hands out as buffers."""

    def reducer_override(self, value: Any) -> Any:
        return (torch.from_numpy, (value.numpy(),)) if isinstance(value, Tensor) else NotImplemented


def _send(connection: Connection, value: Any) -> None:
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


def _receive(connection: Connection) -> Any:
    """What `_send` sent; the tensors' memory is the receiver's alone.

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
