"""How fast a run is, what it waits for, how much memory it takes, and how long it will go on.

These figures are measured: they differ between any two runs, all other metrics do not.
"""

import resource
import sys
import time
from collections.abc import Iterable, Iterator

import torch

from vitaclip.data import TrainBatch

MEASURED = ("clips_per_second", "data_wait_share", "memory_gib", "seconds_left")
"""Names of the measured metrics."""


class Pace:
    """A watch over the steps; `metrics` speaks of those since it was asked last."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        """`batch_size`: clips of a step on all processes."""
        self._batch_size, self._device = batch_size, device
        self._started = self._asked = time.perf_counter()
        self._steps = self._steps_since_asked = 0
        self._waited_seconds = 0.0

    def watch(self, batches: Iterable[TrainBatch]) -> Iterator[TrainBatch]:
        """The batches, while the wait for each is timed."""
        iterator = iter(batches)
        self._started = self._asked = time.perf_counter()
        while True:
            started = time.perf_counter()
            batch = next(iterator, None)
            self._waited_seconds += time.perf_counter() - started
            if batch is None:
                return
            self._steps += 1
            self._steps_since_asked += 1
            yield batch

    def metrics(self, steps_left: int) -> dict[str, float]:
        """Speed, share of the time spent waiting for data, peak memory, and the time left, validations included."""
        now = time.perf_counter()
        seconds = now - self._asked
        metrics = {
            "clips_per_second": self._batch_size * self._steps_since_asked / seconds,
            "data_wait_share": self._waited_seconds / seconds,
            "memory_gib": peak_memory_bytes(self._device) / 2**30,
            "seconds_left": steps_left * (now - self._started) / self._steps,
        }
        self._asked, self._steps_since_asked, self._waited_seconds = now, 0, 0.0
        return metrics


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory that this process has had so far: on a CUDA device its tensors there, else all of its own."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
