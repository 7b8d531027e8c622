"""The feature cache: a video is decoded and embedded once for all runs of an image tower that does not change.

A folder for each way of making features, called by a digest of all that decides their numbers (`about.json` tells
them), holds files of some hundred videos each. Any number of processes may share it: files appear whole, by a rename,
and are never changed. What a video had before it changed (size or time of modification) stays, and is not found.

Axes: n videos, V views of a video, D embedding.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from vitaclip.data import (
    EvalBatch,
    EvalDataset,
    ShardMember,
    VideoError,
    VideoPath,
    eval_batches,
    label_tensor,
    located,
)
from vitaclip.data.config import DataConfig
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
Entry = Tensor | str
"""What is known of a file: its features (V, ...); or why it could not be read."""


def file_state(path: VideoPath) -> FileState:
    """The state of a video file, or of a folder of pictures: then their bytes together, and the newest time."""
    if isinstance(path, ShardMember):
        return str(path.absolute()), path.offset, path.size, path.version
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
            raise ValueError(
                f"feature_cache = {folder}: {error.strerror}; name a folder that can be written"
            ) from error

    def read(self, wanted: AbstractSet[FileState], shape: tuple[int, ...]) -> dict[FileState, Entry]:
        """What is known of the files as they are now.

        A file of the cache that is damaged, or whose features are not of `shape` (V, ...), counts as missing: others
        may write to the folder, so that it may hold anything.
        """
        known: dict[FileState, Entry] = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            try:
                with reading(file):
                    known |= _read_file(file, wanted, shape)
            except (OSError, ValueError):
                continue
        return known

    def write(self, entries: Mapping[FileState, Entry]) -> None:
        """Keep what is known of some files, in one file of the cache.

        Raises:
            OSError: if it cannot be written, as on a full disk.
        """
        whole = {state: entry for state, entry in entries.items() if isinstance(entry, Tensor)}
        broken = [[*state, entry] for state, entry in entries.items() if isinstance(entry, str)]
        features = torch.stack(list(whole.values())) if whole else torch.empty(0)
        metadata = {"videos": json.dumps(list(whole)), "broken": json.dumps(broken)}
        name = hashlib.sha256(json.dumps(list(entries)).encode()).hexdigest()[:32]
        write_safetensors(self.folder / f"{name}.safetensors", {"features": features}, metadata)


def _read_file(file: Path, wanted: AbstractSet[FileState], shape: tuple[int, ...]) -> dict[FileState, Entry]:
    """Those entries of a file of the cache that are wanted."""
    if not file.is_file():  # a pipe would be waited for
        raise ValueError("is no regular file")
    with safe_open(file, framework="pt", backend="pread") as opened:
        metadata = opened.metadata()
        broken = {tuple(state): reason for *state, reason in json.loads(metadata["broken"])}
        indices = {tuple(state): index for index, state in enumerate(json.loads(metadata["videos"]))}
        found = wanted & indices.keys()
        features = opened.get_tensor("features") if found else torch.empty(0)
    fits = features.shape == (len(indices), *shape) and features.dtype == torch.float32
    if found and not (fits and features.isfinite().all()):
        raise ValueError("its features do not fit its videos")
    entries = {state: " ".join(reason.split()) for state, reason in broken.items() if state in wanted}
    return entries | {state: features[indices[state]].clone() for state in found}


def cached_features(
    model: VideoModel,
    dataset: EvalDataset,
    data: DataConfig,
    runtime: RuntimeConfig,
    normalization: Normalization = "clip",
    share: range | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> VideoFeatures:
    """The features of some videos, from `data.feature_cache`; those that it lacks are made and put there, and stay
    there when something ends the work half-way.

    Args:
        model: in which nothing that trains changes the features (see `check_feature_cache`); it is in evaluation mode
            afterwards.
        dataset: the videos and how they are looked at; its own `on_error` is not read.
        data: the cache, and what to do about videos that cannot be read, which it remembers too.
        runtime: precision.
        normalization: see `encode_views`.
        share: indices of the samples that are asked for. None: all.
        on_progress: called with the number of videos just done, or found.

    Raises:
        ValueError: if the folder cannot be made.
        VideoError: a broken video, if `data.on_error` is "raise", when all others are done.
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
    samples = [dataset.samples[index] for index in share]
    states = [file_state(sample.path) for sample in samples]
    entries = cache.read(set(states), (dataset.views.shape[0], *model.pool.shape))
    missing = {state: sample for state, sample in zip(states, samples, strict=True) if state not in entries}
    on_progress(sum(state in entries for state in states))
    if missing:
        # The cache keeps what is wrong with a file; where a list names it is for that list alone.
        unplaced = dataset.with_samples([replace(sample, source=str(sample.path)) for sample in missing.values()])
        encode = partial(encode_batch, [model.eval()], normalization=normalization)
        encode = partial(encode, autocast=partial(autocast, runtime, model.device))
        entries |= _fill(cache, list(missing), unplaced, data, encode, on_progress)
    found = list(zip(share, samples, (entries[state] for state in states), strict=True))
    failed = {index: located(sample, VideoError(reason)) for index, sample, reason in found if isinstance(reason, str)}
    if failed and data.on_error == "raise":
        raise next(iter(failed.values()))
    features = [features for _, _, features in found if isinstance(features, Tensor)]
    whole = [(index, sample.labels) for index, sample, _ in found if index not in failed]
    return VideoFeatures(
        features=(torch.stack(features) if features else torch.empty(0, 0, 0),),
        labels=label_tensor([labels for _, labels in whole], dataset.most_labels),
        indices=torch.tensor([index for index, _ in whole], dtype=torch.int64),
        skipped={index: str(reason) for index, reason in failed.items()},
    )


def _fill(
    cache: FeatureCache,
    states: list[FileState],
    dataset: EvalDataset,
    data: DataConfig,
    encode: Callable[[EvalBatch], VideoFeatures],
    on_progress: Callable[[int], None],
) -> dict[FileState, Entry]:
    """Embed the videos of a data set, whose states are given, and put them into the cache."""
    made: dict[FileState, Entry] = {}
    unsaved: dict[FileState, Entry] = {}
    limit = data.time_limit_seconds
    try:
        for batch in eval_batches(dataset, data.eval_batch_size, data.workers, time_limit_seconds=limit):
            videos = encode(batch)
            made |= {states[row]: reason for row, reason in videos.skipped.items()}
            # A video that was only too slow, or read when memory ran out, is tried again by the next run.
            lasting = videos.skipped.keys() - dataset.refused.keys()
            unsaved |= {states[row]: videos.skipped[row] for row in sorted(lasting)}
            unsaved |= {states[row]: each for row, each in zip(batch.indices, videos.features[0], strict=True)}
            made |= unsaved
            if len(unsaved) >= _VIDEOS_PER_FILE:
                cache.write(unsaved)
                unsaved = {}
            on_progress(len(batch.indices) + len(batch.skipped))
    finally:
        if unsaved:
            cache.write(unsaved)
    return made
