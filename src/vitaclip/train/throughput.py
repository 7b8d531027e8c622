"""Measured metrics: speed, waiting time, memory, time left. They differ between any two runs; no other metric does."""

import resource
import sys
import time
from collections.abc import Iterable, Iterator

import torch

from vitaclip.data import TrainBatch

MEASURED = ("clips_per_second", "data_wait_share", "memory_gib", "seconds_left")
"""Names of the measured metrics."""


class ThroughputMeter:
    """Times the steps of a loop over batches."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        """`batch_size`: clips of a step on all ranks."""
        self._batch_size, self._device = batch_size, device
        self._steps = self._steps_at_reset = 0
        self._waited_seconds = 0.0
        self._started = self._reset = time.perf_counter()

    def timed(self, batches: Iterable[TrainBatch]) -> Iterator[TrainBatch]:
        """Yield the batches, and time the wait for each."""
        asked = time.perf_counter()
        for batch in batches:
            self._waited_seconds += time.perf_counter() - asked
            self._steps += 1
            yield batch
            asked = time.perf_counter()

    def metrics(self, steps_left: int) -> dict[str, float]:
        """Speed and fraction of time spent waiting for data since the last call; peak memory; time left, with
        validations at their present rate."""
        now = time.perf_counter()
        seconds = now - self._reset
        metrics = {
            "clips_per_second": self._batch_size * (self._steps - self._steps_at_reset) / seconds,
            "data_wait_share": self._waited_seconds / seconds,
            "memory_gib": peak_memory_bytes(self._device) / 2**30,
            "seconds_left": steps_left * (now - self._started) / self._steps,
        }
        self._reset, self._steps_at_reset, self._waited_seconds = now, self._steps, 0.0
        return metrics


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory of this process so far: of its tensors on a CUDA device, else of all it holds."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
