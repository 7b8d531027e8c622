"""The folder of a run: who may write in it, what a run leaves there, and what a resumed run reads from it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vitaclip.data.lists.selection import as_fraction, list_text
from vitaclip.data.lists.video_list import VideoList
from vitaclip.evaluation.protocol_run import TRAIN_LIST_FILE
from vitaclip.files import check_own, remove_leftovers, write_json, write_text
from vitaclip.saving.model_folder import MODEL_FOLDER, check_folder
from vitaclip.settings import to_dict
from vitaclip.strings import printable
from vitaclip.training.checkpoint import Checkpoint, CheckpointStore
from vitaclip.training.config import TrainConfig
from vitaclip.training.loggers import METRICS_FILE, read_metrics
from vitaclip.training.run_fingerprint import check_same_run
from vitaclip.untrusted import reading

CONFIG_FILE, BAD_VIDEOS_FILE = "config.json", "bad_videos.txt"
VAL_LIST_FILE = "val_list.csv"
LOCK_FILE, CHECKPOINT_FOLDER = ".lock", "checkpoints"


class RunDir:
    """The folder `config.out`. Rank 0 alone calls the methods."""

    def __init__(self, config: TrainConfig) -> None:
        self.path, self._config = Path(config.out), config
        self.checkpoints = CheckpointStore(self.path / CHECKPOINT_FOLDER, config.keep_checkpoints)
        # A singleton: a run that failed in this process may hold the lock, and may be started again.
        self._lock = FileLock(self.path.resolve() / LOCK_FILE, is_singleton=True)

    def open(self, fingerprint: Mapping[str, Any]) -> tuple[Checkpoint, dict[int, float], list[str]]:
        """Keep other processes out of the folder until `release`, or until this process ends, however it ends, and
        read how far the run had come.

        Returns:
            The newest undamaged checkpoint (of a new run, an empty one of step 0), the metric of early stopping by
            validated step, and warnings.

        Raises:
            ValueError: if another process is writing there, or the folder holds another run or something else than a
                run, or all its checkpoints are damaged.
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
        remove_leftovers(self.path)
        checkpoint, warnings = self.checkpoints.newest()
        if checkpoint.step:
            with reading(self.path, f"delete {CHECKPOINT_FOLDER} in it to start over"):
                warnings += check_same_run(checkpoint.notes, fingerprint, str(self.path))
        name, entries = self._config.early_stop_metric, read_metrics(self.path / METRICS_FILE, checkpoint.step)
        return checkpoint, {int(entry["step"]): entry[name] for entry in entries if name in entry}, warnings

    def release(self) -> None:
        """Let other processes in."""
        self._lock.release(force=True)

    def write_inputs(self, videos: VideoList, val_videos: VideoList | None, bad_videos: Iterable[str]) -> None:
        """Write the config, the lists that `data.shots` and a fraction as `data.val` drew, and the bad videos of the
        state that was read."""
        write_json(self.path / CONFIG_FILE, to_dict(self._config))
        is_split = as_fraction(self._config.data.val) is not None
        if self._config.data.shots or is_split:
            write_text(self.path / TRAIN_LIST_FILE, list_text(videos.samples))
        if val_videos and is_split:
            write_text(self.path / VAL_LIST_FILE, list_text(val_videos.samples))
        self.write_bad_videos(bad_videos)

    def write_bad_videos(self, lines: Iterable[str]) -> None:
        """Write the videos that could not be read, with the reasons; no bad video, no file."""
        text = "".join(f"{printable(line)}\n" for line in lines)
        if text:
            write_text(self.path / BAD_VIDEOS_FILE, text)
        else:  # a killed run may have found some after its checkpoint
            (self.path / BAD_VIDEOS_FILE).unlink(missing_ok=True)
