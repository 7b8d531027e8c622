"""Metrics: how the speed of a run is measured, and the loggers that record all of them.

A JSON-lines file is written always, TensorBoard's if it is installed.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import torch

from vitaclip.data.loading.loader import TrainBatch
from vitaclip.files import with_filename, write_text
from vitaclip.training.config import TrainConfig
from vitaclip.training.memory import peak_bytes, reset_peak
from vitaclip.untrusted import reading

Metrics = Mapping[str, float]
METRICS_FILE = "metrics.jsonl"
MEASURED = ("clips_per_second", "data_wait_share", "memory_gib", "seconds_left")
"""Names of the measured metrics. They differ between any two runs; no other metric does."""


class Logger(Protocol):
    """Records metrics."""

    def log(self, step: int, metrics: Metrics) -> None:
        """Record the metrics after `step` steps."""

    def close(self) -> None:
        """Flush, and release the file or connection."""


class JSONLinesLogger:
    """Writes `metrics.jsonl`: one JSON object a line, with its step."""

    def __init__(self, path: Path, first_step: int = 0) -> None:
        """Append to `path`. Lines of a killed run beyond `first_step` are dropped, because those steps come again."""
        write_text(path, "".join(json.dumps(entry) + "\n" for entry in read_metrics(path, first_step)))
        self._file = path.open("a", encoding="utf-8")

    def log(self, step: int, metrics: Metrics) -> None:
        with with_filename(self._file.name):
            self._file.write(json.dumps({"step": step, **metrics}, allow_nan=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        with with_filename(self._file.name):
            self._file.close()


def read_metrics(path: Path, last_step: int) -> list[dict[str, float]]:
    """The entries of a metrics file up to `last_step`, without incomplete lines of a killed process."""
    entries = []
    with reading(path, "delete that line"):
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            with suppress(json.JSONDecodeError):
                entries.append(json.loads(line))
        return [entry for entry in entries if entry["step"] <= last_step]


class TensorBoardLogger:
    """Writes TensorBoard's event files; needs the package's `tensorboard` extra."""

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        """Start a file, at which TensorBoard forgets the steps of a killed run beyond `first_step`."""
        from torch.utils.tensorboard import SummaryWriter  # takes a second

        self._writer = SummaryWriter(folder, purge_step=first_step + 1)

    def log(self, step: int, metrics: Metrics) -> None:
        with with_filename(self._writer.log_dir):
            for name, value in metrics.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def run_loggers(config: TrainConfig, first_step: int) -> list[Logger]:
    """The loggers of a run: the metrics file, and `tensorboard/` beside it if the package is installed."""
    loggers: list[Logger] = [JSONLinesLogger(Path(config.out) / METRICS_FILE, first_step)]
    if find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(Path(config.out) / "tensorboard", first_step))
    return loggers


class ThroughputMeter:
    """Times the steps of a loop over batches."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        """`batch_size`: clips of a step on all ranks."""
        self._batch_size, self._device = batch_size, device
        self._steps = self._steps_at_reset = 0
        self._waited_seconds = 0.0
        self._started = self._reset = time.perf_counter()
        reset_peak(device)

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
            "memory_gib": peak_bytes(self._device) / 2**30,
            "seconds_left": steps_left * (now - self._started) / self._steps,
        }
        self._reset, self._steps_at_reset, self._waited_seconds = now, self._steps, 0.0
        return metrics
