"""The folder of a run: who may write in it, what a run leaves there, and what a resumed run reads from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vitaclip.data import VideoList, list_text
from vitaclip.files import check_own, remove_leftovers, write_json, write_text
from vitaclip.saving.model_folder import MODEL_FOLDER, check_folder
from vitaclip.settings import to_dict
from vitaclip.train.checkpoint import Checkpoint, CheckpointStore
from vitaclip.train.config import TrainConfig
from vitaclip.train.loggers import read_metric
from vitaclip.train.run_fingerprint import changed_files, check_same_run, check_texts
from vitaclip.untrusted import reading

CONFIG_FILE, METRICS_FILE, BAD_VIDEOS_FILE = "config.json", "metrics.jsonl", "bad_videos.txt"
TRAIN_LIST_FILE, WARNINGS_FILE, LOCK_FILE = "train_list.csv", "warnings.txt", ".lock"
CHECKPOINT_FOLDER = "checkpoints"


@dataclass(frozen=True)
class Progress:
    """How far a run had come when it stopped; of a new run all is empty."""

    checkpoint: Checkpoint | None
    validations: dict[int, float]
    """The metric of early stopping by step."""
    warnings: list[str]

    @property
    def step(self) -> int:
        """Number of steps done."""
        return 0 if self.checkpoint is None else self.checkpoint.step

    @property
    def bad_videos(self) -> list[str]:
        """Lines about the videos that could not be read."""
        return [] if self.checkpoint is None else list(self.checkpoint.notes["bad_videos"])


class RunDir:
    """The folder `config.out`. Rank 0 alone calls the methods."""

    def __init__(self, config: TrainConfig) -> None:
        self.path, self._config = Path(config.out), config
        self.checkpoints = CheckpointStore(self.path / CHECKPOINT_FOLDER, config.keep_checkpoints)
        # A singleton: a run that failed in this process may hold the lock, and may be started again.
        self._lock = FileLock(self.path.resolve() / LOCK_FILE, is_singleton=True)

    def acquire(self) -> None:
        """Keep other processes out of the folder until `release`, or until this process ends, however it ends.

        Raises:
            ValueError: if another process is writing there, or the folder holds something else than a run.
        """
        check_own(self.path / CONFIG_FILE, '"optim"')
        check_folder(self.path / MODEL_FOLDER)
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"{self.path}: another run is writing there; let it end, or give this one another folder with --out (if"
                f" there is none, delete {self.path / LOCK_FILE})"
            ) from None

    def release(self) -> None:
        """Let other processes in."""
        self._lock.release(force=True)

    def read_progress(self, fingerprint: Mapping[str, Any], total_steps: int) -> Progress:
        """Read how far the run had come, from the newest undamaged checkpoint and the metrics file.

        Raises:
            ValueError: if the folder holds another run, or all its checkpoints are damaged.
        """
        remove_leftovers(self.path)
        checkpoint, warnings = self.checkpoints.newest()
        if checkpoint is not None:
            with reading(self.path, f"delete {CHECKPOINT_FOLDER} in it to start over"):
                check_same_run(checkpoint.notes, fingerprint, str(self.path))
                check_texts(checkpoint.notes["bad_videos"], "bad_videos")
            warnings += changed_files(checkpoint.notes, fingerprint)
            if checkpoint.step > total_steps:
                raise ValueError(
                    f"{self.path}: holds a checkpoint of step {checkpoint.step} of {total_steps}; delete it"
                )
        step = 0 if checkpoint is None else checkpoint.step
        validations = read_metric(self.path / METRICS_FILE, self._config.early_stop_metric, step)
        return Progress(checkpoint, validations, warnings)

    def read_best(self, ranking: Sequence[int]) -> tuple[Checkpoint, list[str]]:
        """Read the checkpoint of the best validated step; returns it with warnings about damaged ones before it.

        Raises:
            ValueError: if no checkpoint of a validated step is undamaged.
        """
        kept = {*self.checkpoints.steps(), ranking[0]}
        found, problems = self.checkpoints.first_whole(step for step in ranking if step in kept)
        if found is None:
            listed = "; ".join(problems.values())
            raise ValueError(f"{listed}; no validated checkpoint is whole, so there is nothing to take")
        return found, [f"{problem}; took that of step {found.step}" for problem in problems.values()]

    def write_inputs(self, videos: VideoList, warnings: Sequence[str]) -> None:
        """Write the config, the list that `data.shots` drew, and the warnings about the state that was read."""
        write_json(self.path / CONFIG_FILE, to_dict(self._config))
        if self._config.data.shots:
            write_text(self.path / TRAIN_LIST_FILE, list_text(videos.samples))
        if warnings:
            with (self.path / WARNINGS_FILE).open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in warnings)
