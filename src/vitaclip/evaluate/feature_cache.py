"""The feature cache: a video is decoded and embedded once for all runs of an image tower that does not change.

A folder for each way of making features, called by a digest of all that decides their numbers (`about.json` tells
them), holds files of some hundred videos each. Any number of processes may share it: files appear whole, by a rename,
and are never changed. What a video had before it changed (size or time of modification) stays, and is not found.

Axes: n videos, V views of a video, D embedding.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from vitaclip.data.config import DataConfig
from vitaclip.data.labels import label_tensor
from vitaclip.data.loading.dataset import EvalDataset
from vitaclip.data.loading.loader import EvalBatch, eval_batches
from vitaclip.data.reading.given import GivenVideo
from vitaclip.data.reading.member import ShardMember, VideoPath
from vitaclip.evaluate.scoring import Normalization, VideoFeatures, encode_batch
from vitaclip.files import write_json, write_safetensors
from vitaclip.model import VideoModel
from vitaclip.runtime import RuntimeConfig, autocast, pick_precision
from vitaclip.settings import to_dict
from vitaclip.untrusted import reading

_FORMAT = 1
"""Cache format version. Increase it whenever the same settings would produce different features."""
_ABOUT_FILE = "about.json"
_VIDEOS_PER_FILE = 256
"""Also what a kill costs at most."""

FileState = tuple[str | int, ...]
"""A file as it is now: its absolute path, bytes, and time of modification in ns; the path alone if it is not there.
Of a video in a tar file: where it is, and the version of the tar file."""
Entries = Mapping[FileState, Tensor]
"""Features (V, ...) of files."""


def file_state(path: VideoPath) -> FileState:
    """The state of a video file, or of a folder of pictures: then their bytes together, and the newest time."""
    if isinstance(path, ShardMember):
        return str(path.absolute()), path.offset, path.size, path.version
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

    def read(self, wanted: AbstractSet[FileState], shape: tuple[int, ...]) -> dict[FileState, Tensor]:
        """The features, of `shape` (V, ...), of those files that are known as they are now.

        A file of the cache that is damaged, or whose features do not fit, counts as missing: others may write to the
        folder, so that it may hold anything.
        """
        known: dict[FileState, Tensor] = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            try:
                with reading(file):
                    known |= _read_file(file, wanted, shape)
            except (OSError, ValueError):
                continue
        return known

    def write(self, entries: Entries) -> None:
        """Keep the features of some files, in one file of the cache; OSError if that cannot be written."""
        name = hashlib.sha256(json.dumps(list(entries)).encode()).hexdigest()[:32]
        tensors = {"features": torch.stack(list(entries.values()))}
        write_safetensors(self.folder / f"{name}.safetensors", tensors, {"videos": json.dumps(list(entries))})


def _read_file(file: Path, wanted: AbstractSet[FileState], shape: tuple[int, ...]) -> dict[FileState, Tensor]:
    """Those entries of a file of the cache that are wanted."""
    if not file.is_file():  # a pipe would be waited for
        raise ValueError("is no regular file")
    with safe_open(file, framework="pt", backend="pread") as opened:
        indices = {tuple(state): index for index, state in enumerate(json.loads(opened.metadata()["videos"]))}
        found = wanted & indices.keys()
        if not found:
            return {}
        features = opened.get_tensor("features")
    fits = features.shape == (len(indices), *shape) and features.dtype == torch.float32
    if not (fits and features.isfinite().all()):
        raise ValueError("its features do not fit its videos")
    return {state: features[indices[state]].clone() for state in found}


def cached_features(
    model: VideoModel,
    dataset: EvalDataset,
    data: DataConfig,
    runtime: RuntimeConfig,
    normalization: Normalization = "backbone",
    share: range | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> VideoFeatures:
    """The features of some videos, from `data.feature_cache`; those that it lacks are made and put there, and stay
    there when something ends the work half-way.

    Args:
        model: in which nothing that trains changes the features (see `check_feature_cache`); it is in evaluation mode
            afterwards.
        dataset: the videos and how they are looked at.
        data: the cache, workers, batch size, time limit.
        runtime: precision.
        normalization: see `encode_views`.
        share: indices of the samples that are asked for. None: all.
        on_progress: called with the number of videos just done, or found.
    """
    about = {  # all that decides the features of a file, but the kind of machine, which changes their rounding
        "format": _FORMAT,
        "backbone": model.fingerprint,
        "pool": model.config.pool,
        "clip": to_dict(model.backbone.config),
        "precision": pick_precision(runtime, model.device),
        "pixels": normalization,
        "views": dataset.views.view_config,
    }
    cache = FeatureCache(data.feature_cache, about)
    share = range(len(dataset)) if share is None else share
    states = {index: file_state(dataset.samples[index].path) for index in share}
    known = cache.read(set(states.values()), (dataset.views.shape[0], *model.pool.shape))
    missing = [index for index, state in states.items() if state not in known]
    on_progress(len(share) - len(missing))
    encode = partial(encode_batch, model.eval(), normalization=normalization)
    encode = partial(encode, autocast=partial(autocast, runtime, model.device))
    skipped: dict[int, str] = {}
    unsaved: dict[FileState, Tensor] = {}
    try:
        for batch in _batches(dataset, missing, data) if missing else ():
            features = encode(batch).features
            unsaved |= {states[missing[n]]: each for n, each in zip(batch.indices, features, strict=True)}
            skipped |= {missing[n]: reason for n, reason in batch.skipped.items()}
            known |= unsaved
            if len(unsaved) >= _VIDEOS_PER_FILE:
                cache.write(unsaved)
                unsaved = {}
            on_progress(len(batch.indices) + len(batch.skipped))
    finally:
        if unsaved:
            cache.write(unsaved)
    whole = [index for index in share if index not in skipped]
    return VideoFeatures(
        features=torch.stack([known[states[index]] for index in whole]) if whole else torch.empty(0, 0, 0),
        labels=label_tensor([dataset.samples[index].labels for index in whole], dataset.most_labels),
        indices=torch.tensor(whole, dtype=torch.int64),
        skipped=skipped,
    )


def _batches(dataset: EvalDataset, indices: Sequence[int], data: DataConfig) -> Iterator[EvalBatch]:
    """The videos of some indices, which count anew in the batches."""
    some = EvalDataset([dataset.samples[index] for index in indices], dataset.views, dataset.on_error)
    return eval_batches(some, data.eval_batch_size, data.workers, time_limit_seconds=data.time_limit_seconds)
