"""Loggers of metrics: a JSON-lines file always, TensorBoard if it is installed, Weights & Biases if asked for."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from vitaclip.files import with_filename, write_text
from vitaclip.settings import to_dict
from vitaclip.strings import printable
from vitaclip.train.config import TrainConfig
from vitaclip.untrusted import reading

Metrics = Mapping[str, float]


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
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            kept = [line for line, entry in _read_lines(path) if entry["step"] <= first_step]
            write_text(path, "".join(f"{line}\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")

    def log(self, step: int, metrics: Metrics) -> None:
        with with_filename(self._file.name):
            self._file.write(json.dumps({"step": step, **metrics}, allow_nan=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        with with_filename(self._file.name):
            self._file.close()


def read_metric(path: Path, name: str, last_step: int) -> dict[int, float]:
    """The values of a metric up to `last_step`, by step; empty if there is no file."""
    entries = [entry for _, entry in _read_lines(path)] if path.exists() else []
    return {int(entry["step"]): entry[name] for entry in entries if entry["step"] <= last_step and name in entry}


def _read_lines(path: Path) -> list[tuple[str, dict[str, float]]]:
    """The lines of a metrics file with their content, without incomplete lines of a killed process.

    Raises:
        ValueError: for a line that is not a step with numbers.
    """
    lines: list[tuple[str, dict[str, float]]] = []
    with reading(path, "delete that line"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            values = entry.values() if isinstance(entry, dict) and "step" in entry else [None]
            if not all(isinstance(value, int | float) for value in values):
                raise ValueError(f"{path}:{number}: no step with its figures, {line[:60]!r}; delete that line")
            lines.append((line, entry))
    return lines


class TensorBoardLogger:
    """Writes TensorBoard event files; needs the package's `tensorboard` extra."""

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)

    def log(self, step: int, metrics: Metrics) -> None:
        with with_filename(self._folder):
            for name, value in metrics.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        with with_filename(self._folder):
            self._writer.close()


class WandbLogger:
    """Logs to a run of Weights & Biases, which has the run folder's name and is resumed when training is."""

    def __init__(self, config: TrainConfig) -> None:
        """Open the run.

        Raises:
            ValueError: if the package is not installed.
        """
        if not find_spec("wandb"):
            raise ValueError(
                f"wandb_project = {config.wandb_project!r}: the package wandb is not installed;"
                " pip install wandb, or leave the setting empty"
            )
        import wandb

        folder = Path(config.out).resolve()
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        self._run: Any = wandb.init(
            project=config.wandb_project, name=folder.name, id=name, resume="allow", config=to_dict(config)
        )

    def log(self, step: int, metrics: Metrics) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


class BadVideoList:
    """Writes `bad_videos.txt`: each video that could not be read, once, with the reason. No bad video, no file."""

    def __init__(self, path: Path | None, lines: Sequence[str] = ()) -> None:
        """Start from the `lines` of a run that stopped. Without a path nothing is written."""
        self._path = path
        self._lines = dict.fromkeys(lines)
        if path is not None and path.exists():  # a killed run may have found more since its checkpoint
            self._write(path) if self._lines else path.unlink()

    @property
    def lines(self) -> list[str]:
        """The reason for each bad video, in the order in which they were found."""
        return list(self._lines)

    @property
    def count(self) -> int:
        """Number of different bad videos so far."""
        return len(self._lines)

    def add(self, lines: Sequence[str]) -> None:
        """Add videos that were skipped."""
        new = [line for line in lines if line not in self._lines]
        if new:
            self._lines |= dict.fromkeys(new)
        if new and self._path is not None:
            self._write(self._path)

    def _write(self, path: Path) -> None:
        write_text(path, "".join(f"{printable(line)}\n" for line in self._lines))


def run_loggers(config: TrainConfig, metrics_file: Path, first_step: int) -> list[Logger]:
    """The loggers of a run: the metrics file, tensorboard/ beside it if installed, and Weights & Biases if asked for.

    Raises:
        ValueError: if Weights & Biases is asked for and not installed.
    """
    asked: list[Logger] = [WandbLogger(config)] if config.wandb_project else []
    loggers: list[Logger] = [JSONLinesLogger(metrics_file, first_step)]
    if find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(metrics_file.parent / "tensorboard", first_step))
    return [*loggers, *asked]
