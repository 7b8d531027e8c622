"""The processes (ranks) of one run, which `torchrun` starts, and what they exchange.

A run of one process is `DistEnv()`; every exchange then returns what it was given.
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

TIMEOUT = timedelta(hours=2)
"""How long a rank waits for the others at an exchange. Ranks that embed or score videos of their own may be far apart:
torch's 10 to 30 minutes would end a run for one slow disk. The launcher notices a dead process much sooner."""


class FailedOnAnotherRank(SystemExit):
    """Another rank failed and prints why. This rank ends silently, with the exit status of a user's mistake."""

    def __init__(self) -> None:
        super().__init__(2)


@dataclass(frozen=True)
class DistEnv:
    """This process among the ranks of its run."""

    rank: int = 0
    """Number of this process, from 0. Rank 0 alone writes files and prints."""
    world_size: int = 1
    """Number of processes, on all machines."""
    local_rank: int = 0
    """Number of this process on its machine."""

    @property
    def is_rank0(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def rank_range(self, count: int) -> range:
        """The indices of `count` items that this rank works on: a contiguous part, equal in size but for one item."""
        return range(count * self.rank // self.world_size, count * (self.rank + 1) // self.world_size)

    def all_reduce(self, values: Tensor) -> None:
        """Replace the tensor, in place, by the sum over all ranks' tensors of the same shape."""
        if self.world_size > 1:
            with self._lost_rank_named():
                dist.all_reduce(values)

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in the order of ranks, on each of them."""
        if self.world_size == 1:
            return [value]
        values: list[T | None] = [None] * self.world_size
        with self._lost_rank_named():
            dist.all_gather_object(values, value)
        return cast(list[T], values)

    def failure(self, message: str) -> ValueError | FailedOnAnotherRank:
        """The exception that each rank raises for a cause they share. Rank 0 prints it; the others exit silently."""
        return ValueError(message) if self.is_rank0 else FailedOnAnotherRank()

    @contextmanager
    def shared_errors(self) -> Iterator[None]:
        """Let a user's mistake that any rank meets inside the context end all ranks, printed once.

        The ranks exchange their errors at the end of the context, so no other exchange may take place inside it.

        Raises:
            ValueError: on rank 0, with the message of the lowest rank that failed.
            FailedOnAnotherRank: on the other ranks.
        """
        if self.world_size == 1:
            yield
            return
        message = ""
        try:
            yield
        except (ValueError, OSError) as error:
            message = str(error)
        messages = self.gather(message)
        failed = next((rank for rank, text in enumerate(messages) if text), None)
        if failed is not None:
            raise self.failure(messages[0] if failed == 0 else f"process {failed}: {messages[failed]}")

    def broadcast_from_rank0(self, make: Callable[[], T]) -> T:
        """Return on each rank what `make` returns on rank 0, which alone calls it; for errors see `shared_errors`."""
        box: list[T | None] = [None]
        with self.shared_errors():
            if self.is_rank0:
                box = [make()]
        if self.world_size > 1:
            with self._lost_rank_named():
                dist.broadcast_object_list(box, src=0)
        return cast(T, box[0])

    @contextmanager
    def _lost_rank_named(self) -> Iterator[None]:
        """Turn the error of a broken exchange into one line; the rank that died says more."""
        try:
            yield
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"process {self.rank} stopped because another one went away; see what that one says ({reason})"
            ) from error


SINGLE_PROCESS = DistEnv()
"""A run of one process."""


@contextmanager
def init_distributed() -> Iterator[DistEnv]:
    """Connect this process to those that `torchrun` started with it, for as long as the context lasts."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield SINGLE_PROCESS
        return
    if "LOCAL_RANK" not in os.environ:
        raise ValueError("WORLD_SIZE is set but LOCAL_RANK is not; start several processes with torchrun")
    # NCCL carries tensors on a GPU; gloo carries those in main memory, and Python objects.
    with_cuda = torch.cuda.is_available() and dist.is_nccl_available()
    # No `device_id`: with one, NCCL would connect at once and wait for a rank that has no device of its own (a CPU run,
    # or too many ranks, which is a mistake to be reported). NCCL uses the tensors' device, set by `pick_own_device`.
    dist.init_process_group("cpu:gloo,cuda:nccl" if with_cuda else "gloo", timeout=TIMEOUT)
    yield DistEnv(dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_RANK"]))
    # Not after a failure: the others may be waiting for an exchange that this rank will not join.
    dist.destroy_process_group()
