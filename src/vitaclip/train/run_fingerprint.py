"""The fingerprint of a run, by which resuming with other settings or other videos is noticed."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from vitaclip.data import ShardMember, VideoList, VideoPath
from vitaclip.data.labels import format_labels
from vitaclip.parts.config import ModelConfig
from vitaclip.saving.upgrade import upgrade_model_config
from vitaclip.settings import from_dict, to_dict
from vitaclip.train.config import TrainConfig

MAY_CHANGE_ON_RESUME = frozenset(
    "out log_every validate_every checkpoint_every keep_checkpoints wandb_project views optim.micro_batch_size"  # noqa: SIM905
    " runtime.device runtime.precision runtime.compile runtime.checkpoint_activations"
    " data.workers data.eval_batch_size data.val data.root data.index_cache data.time_limit_seconds data.limits".split()
)
"""Settings that do not change what is learned, except by rounding. A difference in any other one is an error."""
MAY_MOVE_ON_RESUME = frozenset({"data.feature_cache"})
"""Folders that may move; whether there is one does change what is learned."""


def run_fingerprint(config: TrainConfig, videos: VideoList, backbone: str = "") -> dict[str, Any]:
    """The settings, class names, training videos and backbone (if given) of a run, ready for JSON.

    Videos are their number and a hash of their labels and of their paths below the root (which may move), in order;
    files are a hash of their sizes and times.
    """
    train = Path(config.data.train)
    root = Path(config.data.root or (train if train.is_dir() else train.parent))
    paths = "".join(f"{_below(root, row.path)}\0{format_labels(row.labels)}\n" for row in videos.samples)
    state = cache(_size_and_time)  # a tar file counts for each of the videos in it
    files = "".join(f"{state(str(getattr(row.path, 'shard', row.path)))}\n" for row in videos.samples)
    return {
        "config": to_dict(config),
        "class_names": list(videos.class_names),
        "videos": f"{len(videos.samples)} (list {hashlib.sha256(paths.encode()).hexdigest()[:8]})",
        "files": hashlib.sha256(files.encode()).hexdigest()[:16],
        **({"backbone": backbone} if backbone else {}),
    }


def check_same_run(saved: Mapping[str, Any], now: Mapping[str, Any], folder: str) -> None:
    """Refuse to resume a run that was another one.

    A setting that did not exist when the run was saved counts as its default.

    Raises:
        ValueError: with both values of each setting that differs.
    """
    check_texts(saved["class_names"], "class_names")
    differences = sorted(_differences(_upgraded(saved["config"]), now["config"]))
    differences += _class_differences(saved["class_names"], now["class_names"])
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


def changed_files(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A warning if training files differ from those that the run began with. Older runs did not save this."""
    if saved.get("files", now["files"]) == now["files"]:
        return []
    return [
        "sizes or times of the training videos are others than when the run was saved; if a file was replaced by"
        " another video under its name, the run goes on from one that saw the old one: start anew in another folder"
    ]


def _upgraded(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Saved settings by today's names, with today's defaults for those that did not exist."""
    settings = _with_defaults(saved, to_dict(TrainConfig()))
    if "average_decay" in settings["optim"]:  # the name of `ema_decay` in older runs
        settings["optim"]["ema_decay"] = settings["optim"].pop("average_decay")
    return settings | {"model": to_dict(from_dict(ModelConfig, upgrade_model_config(saved["model"])))}


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


def _size_and_time(file: str) -> str:
    """Size and time of a local file; empty for a URL, and for a missing file, which reading reports later."""
    try:
        status = Path(file).stat()
    except (OSError, ValueError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _differences(saved: object, now: object, path: str = "") -> Iterable[str]:
    """A line with both values for each setting that differs and must not."""
    if path in MAY_CHANGE_ON_RESUME or saved == now or (path in MAY_MOVE_ON_RESUME and saved and now):
        return
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in sorted(saved.keys() | now.keys()):
            yield from _differences(saved.get(key), now.get(key), f"{path}.{key}" if path else key)
    else:
        yield f"{path} was {saved!r}, now {now!r}"


def _class_differences(saved: Sequence[str], now: Sequence[str]) -> list[str]:
    """A line about the number of classes, or about the first class whose name differs."""
    if len(saved) != len(now):
        return [f"there were {len(saved)} classes, now {len(now)}"]
    pairs = enumerate(zip(saved, now, strict=True))
    return [f"class {number} was {before!r}, now {after!r}" for number, (before, after) in pairs if before != after][:1]
