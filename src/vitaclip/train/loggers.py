"""Where metrics go: a JSON-lines file always, TensorBoard when it is installed, the screen when there is one, and
Weights & Biases when it is asked for.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from vitaclip.config import TrainConfig, to_dict
from vitaclip.files import naming, write_text
from vitaclip.strings import printable
from vitaclip.untrusted import reading

Metrics = Mapping[str, float]


class Logger(Protocol):
    """Takes metrics at a step."""

    def log(self, step: int, metrics: Metrics) -> None:
        """Record metrics taken after `step` steps."""

    def close(self) -> None:
        """Flush and release."""


class JSONLinesLogger:
    """`metrics.jsonl`: one JSON object a line, with its step."""

    def __init__(self, path: Path, first_step: int = 0) -> None:
        """Append to `path`; lines of a killed run beyond `first_step` are dropped, since they will come again."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            kept = [line for line, entry in _read_lines(path) if entry["step"] <= first_step]
            write_text(path, "".join(f"{line}\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")

    def log(self, step: int, metrics: Metrics) -> None:
        with naming(self._file.name):
            self._file.write(json.dumps({"step": step, **metrics}, allow_nan=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        with naming(self._file.name):
            self._file.close()


def read_metric(path: Path, name: str, last_step: int) -> dict[int, float]:
    """What a metrics file says of a metric up to `last_step`, by step; nothing if there is no file."""
    entries = [entry for _, entry in _read_lines(path)] if path.exists() else []
    return {int(entry["step"]): entry[name] for entry in entries if entry["step"] <= last_step and name in entry}


def _read_lines(path: Path) -> list[tuple[str, dict[str, float]]]:
    """The lines of a metrics file with what they say, without those that a kill has torn.

    Raises:
        ValueError: for a line that no logger wrote.
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
    """TensorBoard event files; needs the package's `tensorboard` extra."""

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder
        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)

    def log(self, step: int, metrics: Metrics) -> None:
        with naming(self._folder):
            for name, value in metrics.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        with naming(self._folder):
            self._writer.close()


class WandbLogger:
    """A run of a project of Weights & Biases; gone on with when training is. It is called like its folder."""

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
    """`bad_videos.txt`: each video that could not be read, once, with the reason. Written only if there is one."""

    def __init__(self, path: Path | None, lines: Sequence[str] = ()) -> None:
        """Go on from the `lines` of a run that stopped; without a path nothing is written."""
        self._path = path
        self._lines = dict.fromkeys(lines)
        if path is not None and path.exists():  # a killed run may have met more since its checkpoint
            self._write(path) if self._lines else path.unlink()

    @property
    def lines(self) -> list[str]:
        """What is wrong with each of them, in the order they were met."""
        return list(self._lines)

    @property
    def count(self) -> int:
        """Different bad videos so far."""
        return len(self._lines)

    def add(self, lines: Sequence[str]) -> None:
        """List videos that were passed over."""
        new = [line for line in lines if line not in self._lines]
        if new:
            self._lines |= dict.fromkeys(new)
        if new and self._path is not None:
            self._write(self._path)

    def _write(self, path: Path) -> None:
        write_text(path, "".join(f"{printable(line)}\n" for line in self._lines))


def run_loggers(config: TrainConfig, metrics_file: Path, first_step: int) -> list[Logger]:
    """The metrics file, tensorboard/ beside it if TensorBoard is installed, and what is asked for.

    Raises:
        ValueError: if what is asked for is not installed.
    """
    asked: list[Logger] = [WandbLogger(config)] if config.wandb_project else []
    loggers: list[Logger] = [JSONLinesLogger(metrics_file, first_step)]
    if find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(metrics_file.parent / "tensorboard", first_step))
    return [*loggers, *asked]
