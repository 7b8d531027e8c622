"""The fingerprint of a run, by which resuming with other settings or other videos is noticed."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vitaclip.data import ShardMember, VideoList, VideoPath, VideoSample
from vitaclip.data.config import DataConfig
from vitaclip.data.labels import format_labels
from vitaclip.parts.config import ModelConfig
from vitaclip.saving.upgrade import upgrade_model_config
from vitaclip.settings import from_dict, to_dict
from vitaclip.train.config import TrainConfig

MAY_CHANGE_ON_RESUME = frozenset(
    {
        "out",
        "runtime.device",
        "runtime.precision",
        "runtime.compile",
        "runtime.checkpoint_activations",
        "optim.micro_batch_size",
        "log_every",
        "validate_every",
        "checkpoint_every",
        "keep_checkpoints",
        "views",
    }
    | {"data.workers", "data.eval_batch_size", "data.val", "data.root", "data.index_cache", "wandb_project"}
    | {"data.time_limit_seconds", "data.limits"}
)
"""Settings that do not change what is learned, except by rounding. A difference in any other one is an error."""
MAY_MOVE_ON_RESUME = frozenset({"data.feature_cache"})
"""Folders that may move; whether there is one does change what is learned."""


def run_fingerprint(config: TrainConfig, videos: VideoList, backbone: str = "") -> dict[str, Any]:
    """The settings, class names, training videos and backbone (if given) of a run, ready for JSON."""
    return {
        "config": to_dict(config),
        "class_names": list(videos.class_names),
        "videos": _videos(videos.samples, config.data),
        "files": _files(videos.samples),
        **({"backbone": backbone} if backbone else {}),
    }


def check_same_run(saved: Mapping[str, Any], now: Mapping[str, Any], folder: str) -> None:
    """Refuse to resume a run that was another one.

    A setting that did not exist when the run was saved counts as its default.

    Raises:
        ValueError: with both values of each setting that differs.
    """
    check_texts(saved["class_names"], "class_names")
    before = _with_defaults(saved["config"], to_dict(TrainConfig()))
    if "average_decay" in before["optim"]:  # the name of `ema_decay` in older runs
        before["optim"]["ema_decay"] = before["optim"].pop("average_decay")
    before["model"] = to_dict(from_dict(ModelConfig, upgrade_model_config(saved["config"]["model"])))
    differences = sorted(_differences(before, now["config"]))
    differences += list(_class_differences(saved["class_names"], now["class_names"]))
    if saved["videos"] != now["videos"]:
        differences.append(f"the training videos were {saved['videos']}, now {now['videos']}")
    if "backbone" in saved and saved["backbone"] != now["backbone"]:  # older runs do not say
        differences.append(f"the backbone's fingerprint was {saved['backbone']}, now {now['backbone']}")
    if differences:
        raise ValueError(
            f"{folder} holds a run with another config: {'; '.join(differences)}."
            " Resume it with its own settings, or name another folder with --out"
        )


def check_texts(values: object, name: str) -> None:
    """Refuse notes of a checkpoint that are not a list of strings.

    Raises:
        ValueError: with the name of the notes.
    """
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"a damaged checkpoint: its {name} are no list of texts")


def _videos(rows: Sequence[VideoSample], data: DataConfig) -> str:
    """The number of videos, and a hash of their labels and of their paths below the root (which may move), in order."""
    source = Path(data.train)
    root = Path(data.root) if data.root else (source if source.is_dir() else source.parent)
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{_below(root, row.path)}\0{format_labels(row.labels)}\n".encode())
    return f"{len(rows)} (list {digest.hexdigest()[:8]})"


def _files(rows: Sequence[VideoSample]) -> str:
    """A hash of the sizes and times of the training files, in order. A tar file counts for the videos in it."""
    digest, seen = hashlib.sha256(), dict[str, str]()
    for row in rows:
        place = str(row.path.shard) if isinstance(row.path, ShardMember) else str(row.path)
        if place not in seen:
            seen[place] = _size_and_time(place)
        digest.update(f"{seen[place]}\n".encode())
    return digest.hexdigest()[:16]


def _size_and_time(place: str) -> str:
    """Size and time of a local file; empty for a URL, and for a missing file, which reading reports later."""
    try:
        status = Path(place).stat()
    except (OSError, ValueError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def changed_files(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A warning if training files differ from those that the run began with. Older runs did not save this."""
    if saved.get("files", now["files"]) == now["files"]:
        return []
    return [
        "sizes or times of the training videos are others than when the run was saved; if a file was replaced by"
        " another video under its name, the run goes on from one that saw the old one: start anew in another folder"
    ]


def _with_defaults(saved: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The saved settings, with the default of each missing one, at every depth."""
    filled = {**defaults, **saved}
    for key, value in defaults.items():
        if isinstance(value, dict) and isinstance(filled[key], dict):
            filled[key] = _with_defaults(filled[key], value)
    return filled


def _below(root: Path, path: VideoPath) -> str:
    """A path relative to the root if it is inside, with forward slashes."""
    if isinstance(path, ShardMember):
        return str(path).removeprefix(f"{root.as_posix()}/")
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _differences(saved: object, now: object, path: str = "") -> Iterable[str]:
    """A line with both values for each setting that differs and must not."""
    if path in MAY_CHANGE_ON_RESUME or saved == now or (path in MAY_MOVE_ON_RESUME and saved and now):
        return
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in sorted(saved.keys() | now.keys()):
            yield from _differences(saved.get(key), now.get(key), f"{path}.{key}" if path else key)
    else:
        yield f"{path} was {saved!r}, now {now!r}"


def _class_differences(saved: Sequence[str], now: Sequence[str]) -> Iterable[str]:
    """A line about the number of classes, or about the first class whose name differs."""
    if len(saved) != len(now):
        yield f"there were {len(saved)} classes, now {len(now)}"
        return
    for number, (before, after) in enumerate(zip(saved, now, strict=True)):
        if before != after:
            yield f"class {number} was {before!r}, now {after!r}"
            return
