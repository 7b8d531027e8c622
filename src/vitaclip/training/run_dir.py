"""The folder of a run: who may write in it, what a run leaves there, what a resumed run reads from it, and the
fingerprint by which resuming with other settings or other videos is noticed.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vitaclip.data.labels import format_labels
from vitaclip.data.lists.sources import as_fraction, list_text
from vitaclip.data.lists.video_list import VideoList
from vitaclip.evaluation.protocol_run import TRAIN_LIST_FILE
from vitaclip.files import check_own, remove_leftovers, write_json, write_text
from vitaclip.parts.config import ModelConfig
from vitaclip.saving.model_folder import MODEL_FOLDER, check_folder, upgrade_model_config
from vitaclip.settings import from_dict, to_dict
from vitaclip.strings import printable
from vitaclip.training.checkpoint import Checkpoint, CheckpointStore
from vitaclip.training.config import TrainConfig
from vitaclip.training.loggers import METRICS_FILE, read_metrics
from vitaclip.untrusted import reading

CONFIG_FILE, BAD_VIDEOS_FILE = "config.json", "bad_videos.txt"
VAL_LIST_FILE = "val_list.csv"
LOCK_FILE, CHECKPOINT_FOLDER = ".lock", "checkpoints"
MAY_CHANGE_ON_RESUME = frozenset(
    "out auto_batch log_every validate_every checkpoint_every keep_checkpoints views optim.micro_batch_size"  # noqa: SIM905
    " runtime.device runtime.precision runtime.compile runtime.checkpoint_activations"
    " data.workers data.eval_batch_size data.val data.root data.time_limit_seconds data.limits".split()
)
"""Settings that do not change what is learned, except by rounding. A difference in any other one is an error."""
MAY_MOVE_ON_RESUME = frozenset({"data.feature_cache", "init"})
"""Paths that may move; whether there is one does change what is learned."""
_SHOWN = 10


class RunDir:
    """The folder `config.out`. Rank 0 alone calls the methods."""

    def __init__(self, config: TrainConfig) -> None:
        self.path, self._data, self._metric = Path(config.out), config.data, config.early_stop_metric
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
        entries, name = read_metrics(self.path / METRICS_FILE, checkpoint.step), self._metric
        return checkpoint, {int(entry["step"]): entry[name] for entry in entries if name in entry}, warnings

    def release(self) -> None:
        """Let other processes in."""
        self._lock.release(force=True)

    def write_config(self, config: TrainConfig) -> None:
        """Write all settings."""
        write_json(self.path / CONFIG_FILE, to_dict(config))

    def write_inputs(self, videos: VideoList, val_videos: VideoList | None, bad_videos: Iterable[str]) -> None:
        """Write the lists that `data.shots` and a fraction as `data.val` drew, and the bad videos of the state that was
        read."""
        is_split = as_fraction(self._data.val) is not None
        if self._data.shots or is_split:
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


def run_fingerprint(config: TrainConfig, videos: VideoList, backbone: str = "") -> dict[str, Any]:
    """The settings, class names, training videos and backbone (if given) of a run, ready for JSON.

    Videos are their number and a hash of their labels and of their paths below the root (which may move), in order.
    """
    train = Path(config.data.train)
    root = Path(config.data.root or (train if train.is_dir() else train.parent)).as_posix().rstrip("/") + "/"
    labelled = "".join(
        f"{str(each.path).removeprefix(root)}\0{format_labels(each.labels)}\n" for each in videos.samples
    )
    return {
        "config": to_dict(config),
        "class_names": list(videos.class_names),
        "videos": f"{len(videos.samples)} (list {hashlib.sha256(labelled.encode()).hexdigest()[:8]})",
        **({"backbone": backbone} if backbone else {}),
    }


def check_same_run(saved: Mapping[str, Any], now: Mapping[str, Any], folder: str) -> list[str]:
    """Refuse to resume a run that was another one; return a warning if it is to be longer than it was.

    A setting that did not exist when the run was saved counts as its default; older runs do not say their backbone.
    """
    model = to_dict(from_dict(ModelConfig, upgrade_model_config(saved["config"]["model"])))
    if saved.get("backbone") and now.get("backbone"):  # wherever it is now: its fingerprint says whether it is the same
        model["backbone"] = now["config"]["model"]["backbone"]
    settings, warnings = saved["config"] | {"model": model}, []
    for name, length in now["config"]["optim"].items():
        before = settings["optim"].get(name)
        if name in ("steps", "epochs") and before and before < length:
            settings["optim"] = settings["optim"] | {name: length}
            warnings.append(
                f"optim.{name} was {before}, now {length}: from here on the learning rate is that of the longer run, so"
                " it rises again where the cosine was near its end"
            )
    before = settings | _named(saved["class_names"], saved["videos"], saved.get("backbone", now.get("backbone")))
    after = now["config"] | _named(now["class_names"], now["videos"], now.get("backbone"))
    differences = list(_differences(before, after, to_dict(TrainConfig()) | {"model": {}}))
    if differences:
        more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise ValueError(
            f"{folder} holds a run with another config: {'; '.join(differences[:_SHOWN])}{more}."
            " Resume it with its own settings, or name another folder with --out"
        )
    return warnings


def _named(class_names: Sequence[str], videos: str, backbone: str | None) -> dict[str, Any]:
    """What is compared beside the settings, under the names that messages have for it."""
    classes = dict(enumerate(class_names))
    return {"class": classes, "the list of training videos": videos, "the backbone's fingerprint": backbone}


def _differences(saved: object, now: object, usual: object, path: str = "") -> Iterator[str]:
    """A line with both values for each setting that differs and must not. What was not saved has its usual value; a
    setting that is gone does no harm if it was off."""
    if path in MAY_CHANGE_ON_RESUME or saved == now or (path in MAY_MOVE_ON_RESUME and saved and now):
        return
    if isinstance(saved, dict) and isinstance(now, dict):
        default = usual if isinstance(usual, dict) else {}
        for key in sorted(saved.keys() | now.keys()):
            before = saved.get(key, default.get(key))
            if key not in now and not before and not path.startswith("model"):
                continue
            yield from _differences(before, now.get(key), default.get(key), f"{path}.{key}" if path else key)
    else:
        yield f"{path} was {saved!r}, now {now!r}"
