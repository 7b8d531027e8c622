"""The processes of one run, which `torchrun` starts, and the little they say to each other.

Alone, a process is `Processes()` and every exchange gives back what it was given.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What `torchrun` sets for each process."""
LONGEST_WAIT = timedelta(hours=2)
"""For the others at an exchange. They may be far apart where each makes features or scores videos of its own: the 10 to
30 minutes of torch would end a run for one slow disk. A process that went away is noticed by the launcher, much sooner.
"""


class FailedElsewhere(SystemExit):
    """Another process of the run failed, and says why: this one ends quietly, with the status of a mistake."""

    def __init__(self) -> None:
        super().__init__(2)


@dataclass(frozen=True)
class Processes:
    """This process among those of the run."""

    rank: int = 0
    """Number of this process, from 0; number 0 alone writes files and prints."""
    count: int = 1
    """All processes, on all machines."""
    local_rank: int = 0
    """Number of this process on its machine."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """This process's part of `count` things in a row."""
        return range(count * self.rank // self.count, count * (self.rank + 1) // self.count)

    def sum_(self, values: Tensor) -> None:
        """Put the sum of all processes' tensors (of one shape) into each, in place."""
        if self.count > 1:
            with _loss_named(self):
                dist.all_reduce(values)

    def gather(self, value: T) -> list[T]:
        """The values of all processes, by rank, on each of them."""
        if self.count == 1:
            return [value]
        values: list[T | None] = [None] * self.count
        with _loss_named(self):
            dist.all_gather_object(values, value)
        return cast(list[T], values)

    def failure(self, message: str) -> ValueError | FailedElsewhere:
        """What every process raises for a reason that they share: the first one tells it, the others end quietly."""
        return ValueError(message) if self.is_first else FailedElsewhere()

    def together(self, make: Callable[[], T]) -> T:
        """The result of `make`, which every process calls; a user's mistake met by one ends all, told once.

        Raises:
            ValueError: on the first process, with the message of the lowest one that failed.
            FailedElsewhere: on all others.
        """
        if self.count == 1:
            return make()
        result: T | None = None
        message = ""
        try:
            result = make()
        except (ValueError, OSError) as error:
            message = str(error)
        messages = self.gather(message)
        failed = next((rank for rank, said in enumerate(messages) if said), None)
        if failed is None:
            return cast(T, result)
        raise self.failure(messages[0] if failed == 0 else f"process {failed}: {messages[failed]}")

    def from_first(self, make: Callable[[], T]) -> T:
        """The result of `make`, which the first process alone calls, on each of them.

        Raises:
            ValueError: on the first process, if `make` does so.
            FailedElsewhere: then on all others.
        """
        made = self.together(lambda: make() if self.is_first else None)
        if self.count == 1:
            return cast(T, made)
        box = [made]
        with _loss_named(self):
            dist.broadcast_object_list(box, src=0)
        return cast(T, box[0])


ALONE = Processes()
"""A run of one process."""


@contextmanager
def connected() -> Iterator[Processes]:
    """This process and those that `torchrun` started with it, connected for as long as the context lasts.

    Raises:
        ValueError: if the launcher's variables are set in part.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    missing = [name for name in LAUNCHER_VARIABLES if name not in os.environ]
    if missing:
        raise ValueError(f"WORLD_SIZE is set but {', '.join(missing)} is not; start several processes with torchrun")
    # Tensors on a GPU travel by NCCL; those in main memory, lists of names and the like by gloo.
    with_cuda = torch.cuda.is_available() and dist.is_nccl_available()
    # No `device_id`: NCCL would connect at once, and wait for a process that has no device of its own (a CPU run, or
    # too many processes, which is to be told). It takes the tensors' device; `pick_own_device` makes it the current.
    dist.init_process_group("cpu:gloo,cuda:nccl" if with_cuda else "gloo", timeout=LONGEST_WAIT)
    yield Processes(dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_RANK"]))
    # Not after a failure: the others may be waiting for an exchange that this one will not join.
    dist.destroy_process_group()


@contextmanager
def _loss_named(processes: Processes) -> Iterator[None]:
    """One line for an exchange that broke off: the process that went away says more."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"process {processes.rank} stopped because another one went away; see what that one says ({reason})"
        ) from error
