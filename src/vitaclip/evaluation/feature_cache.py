"""The feature cache: a video is decoded and seen by the image tower once for all runs in which that does not change.

What is kept is what the pool reads of the tower. A folder for each way of making it, called by a digest of all that
decides the numbers (`about.json` tells them), holds files of some hundred videos each. Any number of processes may
share it: files appear whole, by a rename, and are never changed. What a video had before it changed (size or time of
modification) stays, and is not found. Videos are read from there one at a time, so that no memory has to hold all.

Axes: n videos, V views of a video, T frames.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from vitaclip.data.config import DataConfig
from vitaclip.data.labels import label_tensor
from vitaclip.data.loading.loader import EvalBatch, EvalDataset, eval_batches
from vitaclip.data.reading.path import GivenVideo, ShardMember, VideoPath
from vitaclip.evaluation.scoring import VideoFeatures, ViewEncoder
from vitaclip.files import write_json, write_safetensors
from vitaclip.runtime import pick_precision
from vitaclip.settings import to_dict
from vitaclip.untrusted import reading

_FORMAT = 2
"""Cache format version. Increase it whenever the same settings would produce different features."""
_ABOUT_FILE = "about.json"
_VIDEOS_PER_FILE, _BYTES_PER_FILE = 256, 2**28
"""A file of the cache is written when so much is there; this is also what a kill costs at most."""

FileState = tuple[str | int, ...]
"""A file as it is now: its absolute path, bytes, and time of modification in ns; the path alone if it is not there.
Of a video in a tar file: where it is, and the version of the tar file."""


@dataclass(frozen=True)
class Kept:
    """Where the features of a video lie: float32 numbers of `shape` (V, T, ...), from a byte of a file on."""

    file: Path
    offset: int
    shape: tuple[int, ...]

    def read(self) -> Tensor:
        """The features of all views; ValueError if they are damaged."""
        count = math.prod(self.shape)
        values = np.fromfile(self.file, "<f4", count, offset=self.offset)
        if len(values) < count or not np.isfinite(values).all():
            raise ValueError(f"{self.file}: damaged; delete it, and its videos are embedded again")
        return torch.from_numpy(values).view(self.shape)


@dataclass(frozen=True)
class KeptVideos:
    """The videos of a list whose features are kept, and why the others could not be read, by index."""

    kept: Mapping[int, Kept]
    skipped: Mapping[int, str]


def file_state(path: VideoPath) -> FileState:
    """The state of a video file, or of a folder of pictures: then their bytes together, and the newest time."""
    if isinstance(path, ShardMember):
        return (*file_state(Path(path.shard)), path.name)
    if isinstance(path, GivenVideo):
        return (str(path),)
    try:
        files = [path, *(Path(entry) for entry in os.scandir(path))] if path.is_dir() else [path]
        facts = [file.stat() for file in files]
    except OSError:
        return (str(path.absolute()),)
    return str(path.absolute()), sum(fact.st_size for fact in facts), max(fact.st_mtime_ns for fact in facts)


class FeatureCache:
    """The features that were made in one way."""

    def __init__(self, folder: str | Path, about: Mapping[str, Any]) -> None:
        """Open or make the part of `folder` that `about` decides: all that decides the numbers beside the files.

        Raises:
            ValueError: the folder cannot be made.
        """
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = Path(folder) / digest
        try:
            if not (self.folder / _ABOUT_FILE).exists():
                write_json(self.folder / _ABOUT_FILE, about)
        except OSError as error:
            message = f"feature_cache = {folder}: {error.strerror}; name a folder that can be written"
            raise ValueError(message) from error

    def find(self, wanted: AbstractSet[FileState], shape: tuple[int, ...]) -> dict[FileState, Kept]:
        """Where the features, of `shape` (V, T, ...), of those files lie that are known as they are now.

        A file of the cache that is damaged, or whose features do not fit, counts as missing: others may write to the
        folder, so that it may hold anything.
        """
        known: dict[FileState, Kept] = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            try:
                with reading(file):
                    known |= _find_in(file, wanted, shape)
            except (OSError, ValueError):
                continue
        return known

    def write(self, entries: Mapping[FileState, Tensor]) -> dict[FileState, Kept]:
        """Keep the features (V, T, ...) of some files, in one file of the cache; OSError if that cannot be written."""
        name = hashlib.sha256(json.dumps(list(entries)).encode()).hexdigest()[:32]
        file, features = self.folder / f"{name}.safetensors", torch.stack(list(entries.values()))
        write_safetensors(file, {"features": features}, {"videos": json.dumps(list(entries))})
        return _find_in(file, entries.keys(), tuple(features.shape[1:]))


def _find_in(file: Path, wanted: AbstractSet[FileState], shape: tuple[int, ...]) -> dict[FileState, Kept]:
    """Those videos of a file of the cache that are wanted. The features are all that it holds, so they end with it."""
    if not file.is_file():  # a pipe would be waited for
        raise ValueError("is no regular file")
    with safe_open(file, framework="pt", backend="pread") as opened:
        numbers = {tuple(state): number for number, state in enumerate(json.loads(opened.metadata()["videos"]))}
        features = opened.get_slice("features")
        fits = features.get_shape() == [len(numbers), *shape] and features.get_dtype() == "F32"
        if not fits or list(opened.keys()) != ["features"]:
            raise ValueError("its features do not fit its videos")
    size = 4 * math.prod(shape)
    begin = file.stat().st_size - size * len(numbers)
    return {state: Kept(file, begin + size * numbers[state], shape) for state in wanted & numbers.keys()}


def keep_features(
    encoder: ViewEncoder,
    dataset: EvalDataset,
    data: DataConfig,
    share: range | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> KeptVideos:
    """Have what the pool reads of some videos in `data.feature_cache`; what it lacks is made and put there, and stays
    there when something ends the work half-way.

    Args:
        encoder: of a model in evaluation mode whose image tower sees videos always alike, see `check_feature_cache`.
        dataset: the videos and how they are looked at.
        data: the cache, workers, batch size, time limit.
        share: indices of the samples that are asked for. None: all.
        on_progress: called with the number of videos just done, or found.
    """
    model = encoder.model
    read, pool = type(model.pool).read, model.pool
    about = {  # all that decides the features of a file, but the kind of machine, which changes their rounding
        "format": _FORMAT,
        "backbone": model.fingerprint,
        "read": [read.__module__, read.__qualname__, pool.reads.blocks, pool.frame_shape],
        "clip": to_dict(model.backbone.config),
        "precision": pick_precision(encoder.runtime, model.device),
        "pixels": encoder.normalization,
        "views": dataset.views.view_config,
    }
    cache = FeatureCache(data.feature_cache, about)
    share = range(len(dataset)) if share is None else share
    states = {index: file_state(dataset.samples[index].path) for index in share}
    known = cache.find(set(states.values()), (*dataset.views.shape[:2], *pool.frame_shape))
    missing = [index for index, state in states.items() if state not in known]
    on_progress(len(share) - len(missing))
    skipped, unsaved = dict[int, str](), dict[FileState, Tensor]()
    batches: Iterable[EvalBatch] = ()
    if missing:
        some = EvalDataset([dataset.samples[index] for index in missing], dataset.views, dataset.on_error)
        batches = eval_batches(some, data.eval_batch_size, data.workers, time_limit_seconds=data.time_limit_seconds)
    try:
        for batch in batches:  # its indices count through the missing
            features = encoder.tower_features(batch.video).float().cpu() if batch.indices else ()
            unsaved |= {states[missing[n]]: each for n, each in zip(batch.indices, features, strict=True)}
            skipped |= {missing[n]: reason for n, reason in batch.skipped.items()}
            size = sum(4 * each.numel() for each in unsaved.values())
            if len(unsaved) >= _VIDEOS_PER_FILE or size >= _BYTES_PER_FILE:
                known |= cache.write(unsaved)
                unsaved = {}
            on_progress(len(batch.indices) + len(batch.skipped))
    finally:
        if unsaved:
            known |= cache.write(unsaved)
    return KeptVideos({index: known[states[index]] for index in share if index not in skipped}, skipped)


def cached_features(
    encoder: ViewEncoder,
    dataset: EvalDataset,
    data: DataConfig,
    classes: Tensor | None,
    share: range,
    on_progress: Callable[[int], None],
) -> VideoFeatures:
    """The embedded views of some videos, from what `keep_features` keeps; for the arguments see there, for `classes`
    see `ViewEncoder.encode_features`."""
    videos = keep_features(encoder, dataset, data, share, on_progress)
    whole, features = list(videos.kept), [torch.empty(0, 0, 0)]
    for start in range(0, len(whole), data.eval_batch_size):
        kept = torch.stack([videos.kept[index].read() for index in whole[start : start + data.eval_batch_size]])
        features.append(encoder.encode_features(kept, classes))
    return VideoFeatures(
        features=torch.cat(features[1:] or features),
        labels=label_tensor([dataset.samples[index].labels for index in whole], dataset.most_labels),
        indices=torch.tensor(whole, dtype=torch.int64),
        skipped=videos.skipped,
    )
