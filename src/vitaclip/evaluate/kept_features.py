"""Features of videos by way of the feature cache: only what it does not know is decoded and embedded.

Axes: V views of a video, D embedding.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from vitaclip.config import DataConfig, RuntimeConfig, to_dict
from vitaclip.data import EvalDataset, VideoError, eval_batches, label_tensor, located
from vitaclip.evaluate.feature_store import Entry, FeatureStore, FileState, state_of
from vitaclip.evaluate.scoring import Pixels, VideoFeatures, encode_batch
from vitaclip.model import VideoModel
from vitaclip.runtime import autocast, pick_precision

_FORMAT = 1
"""Another one where the same settings give other numbers than before."""
_VIDEOS_PER_FILE = 256
"""Also what a kill costs at most."""


def kept_features(
    model: VideoModel,
    dataset: EvalDataset,
    data: DataConfig,
    runtime: RuntimeConfig,
    *,
    pixels: Pixels = "clip",
    share: range | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> VideoFeatures:
    """The features of some videos, from `data.feature_cache`; those that it lacks are made and put there.

    What is made stays when something ends the work half-way.

    Args:
        model: in which nothing that trains changes the features (see `check_feature_cache`); it is in evaluation mode
            afterwards.
        dataset: the videos and how they are looked at; its own `on_error` is not read.
        data: the cache, and what to do about videos that cannot be read, which it remembers too.
        runtime: precision.
        pixels: see `encode_views`.
        share: numbers of the rows that are asked for. None: all.
        on_progress: called with the number of videos just done, or found.

    Raises:
        ValueError: if the folder cannot be made.
        VideoError: a broken video, if `data.on_error` is "raise", when all others are done.
    """
    store = FeatureStore(data.feature_cache, _about(model, dataset, runtime, pixels))
    share = range(len(dataset)) if share is None else share
    states = [state_of(dataset.rows[number].path) for number in share]
    num_views = dataset.temporal_views * dataset.spatial_crops
    entries = store.read(set(states), (num_views, *model.pool.shape))
    # The store keeps what is wrong with a file; where a list names it is for that list alone.
    missing = {
        state: replace(row, source=str(row.path))
        for state, row in zip(states, (dataset.rows[number] for number in share), strict=True)
        if state not in entries
    }
    on_progress(len(states) - len(missing))
    if missing:
        others = dataset.with_samples(list(missing.values()))
        entries |= _make(model, others, list(missing), store, data, runtime, pixels, on_progress)
    return _in_order(dataset, share, [entries[state] for state in states], data)


def _about(model: VideoModel, dataset: EvalDataset, runtime: RuntimeConfig, pixels: Pixels) -> dict[str, Any]:
    """All that decides the features of a file, but the kind of machine, which changes their rounding."""
    return {
        "format": _FORMAT,
        "backbone": model.fingerprint,
        "pool": model.config.pool,
        "clip": to_dict(model.backbone.config),
        "precision": pick_precision(runtime, model.device),
        "pixels": pixels,
        "views": dataset.view_config,
    }


def _make(
    model: VideoModel,
    dataset: EvalDataset,
    states: list[FileState],
    store: FeatureStore,
    data: DataConfig,
    runtime: RuntimeConfig,
    pixels: Pixels,
    on_progress: Callable[[int], None],
) -> dict[FileState, Entry]:
    """Embed the videos of a data set, whose states are given, and keep them."""
    model.eval()
    kept: dict[FileState, Entry] = {}
    fresh: dict[FileState, Entry] = {}
    try:
        for batch in eval_batches(
            dataset, data.eval_batch_size, data.workers, time_limit_seconds=data.time_limit_seconds
        ):
            videos = encode_batch([model], batch, pixels, partial(autocast, runtime, model.device))
            fresh |= {states[row]: each for row, each in zip(batch.rows, videos.features[0], strict=True)}
            for row, reason in videos.skipped.items():
                # A video that was only too slow, or read when memory ran out, is tried again by the next run.
                (kept if row in dataset.quarantine.reasons else fresh)[states[row]] = reason
            if len(fresh) >= _VIDEOS_PER_FILE:
                store.write(fresh)
                kept, fresh = kept | fresh, {}
            on_progress(len(batch.rows) + len(batch.left_out))
    finally:
        if fresh:
            store.write(fresh)
    return kept | fresh


def _in_order(dataset: EvalDataset, share: range, entries: list[Entry], data: DataConfig) -> VideoFeatures:
    """What is known of the rows of a share, as scoring and training take it."""
    skipped = {
        number: located(dataset.rows[number], VideoError(entry))
        for number, entry in zip(share, entries, strict=True)
        if isinstance(entry, str)
    }
    if skipped and data.on_error == "raise":
        raise next(iter(skipped.values()))
    rows = [number for number in share if number not in skipped]
    features = [entry for entry in entries if isinstance(entry, torch.Tensor)]
    return VideoFeatures(
        features=(torch.stack(features) if features else torch.empty(0, 0, 0),),
        labels=label_tensor([dataset.rows[number].labels for number in rows], dataset.most_labels),
        rows=torch.tensor(rows, dtype=torch.int64),
        skipped={number: str(reason) for number, reason in skipped.items()},
    )
