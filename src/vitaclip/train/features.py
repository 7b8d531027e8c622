"""Training on features instead of pixels, where training does not change what the image tower says of a video.

Axes: n videos, V clips of a video.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
from torch import Tensor

from vitaclip.config import TrainConfig
from vitaclip.data import (
    EvalDataset,
    FixedAugmentationDataset,
    TrainBatch,
    TrainSamples,
    TrainTransform,
    VideoError,
    VideoList,
    frame_sampling,
    index_cache,
    train_batches,
)
from vitaclip.distributed import DistEnv
from vitaclip.evaluate.feature_cache import cached_features
from vitaclip.evaluate.scoring import VideoFeatures, gather_features
from vitaclip.model import VideoModel
from vitaclip.train.stopping import Terminated


class FeatureSamples(TrainSamples):
    """Training samples that are features (...) of a video's V clips; (seed, step, i) decides which."""

    def __init__(self, videos: VideoList, features: VideoFeatures, config: TrainConfig) -> None:
        # What is wrong with a broken video comes with its place in the list; `source` would put it in front again.
        rows = [replace(row, source=str(row.path)) for row in videos.rows]
        super().__init__(rows, config.seed, config.data.on_error, config.data.balance_classes)
        self._clips = dict(zip(features.rows.tolist(), features.features[0], strict=True))
        self._broken = features.skipped

    def clip(self, index: int, rng: np.random.Generator) -> Tensor:
        if index in self._broken:
            raise VideoError(self._broken[index])
        clips = self._clips[index]
        return cast(Tensor, clips[rng.integers(len(clips))])


def feature_batches(
    config: TrainConfig,
    model: VideoModel,
    videos: VideoList,
    places: range,
    dist: DistEnv,
    asked_to_stop: Callable[[], bool],
    on_features: Callable[[int], Callable[[int], None]],
) -> Callable[[int, int], Iterator[TrainBatch]]:
    """What gives the batches of the steps from a first to a last one, with features (B, 1, ...) in place of videos.

    Features that the cache lacks are made when it is asked first. Each process takes its share of the videos, and all
    get all features: the order of the videos is another in every epoch.

    Args:
        config: the run.
        model: embeds the videos.
        videos: all of them.
        places: those of a step's clips that are this process's.
        dist: those that share the run.
        asked_to_stop: whether the run is to end; the features made so far are kept.
        on_features: hears how many videos this process sees to; returns what is to be called with those just done.
    """
    dataset = _clips(config, model, videos)
    share = dist.rank_range(len(videos.rows))

    def batches(first_step: int, last_step: int) -> Iterator[TrainBatch]:
        if first_step >= last_step:
            return
        show = on_features(len(share))

        def on_progress(done: int) -> None:
            show(done)
            if asked_to_stop():
                raise Terminated

        own = dist.run_on_all_ranks(
            lambda: cached_features(model, dataset, config.data, config.runtime, share=share, on_progress=on_progress)
        )
        samples = FeatureSamples(videos, gather_features(own, dist), config)
        yield from train_batches(samples, first_step, last_step, config.optim.batch_size, places=places)

    return batches


def _clips(config: TrainConfig, model: VideoModel, videos: VideoList) -> EvalDataset:
    """The clips of each video that features are made of."""
    data = config.data
    sampling = frame_sampling(config.model.sampling, config.model.num_frames)
    reading: dict[str, Any] = {
        "index_cache": index_cache(data.index_cache),
        "limits": data.limits,
        "pixel_aspect": data.pixel_aspect,
    }
    if data.feature_draws:
        transform = TrainTransform(size=model.image_size, augment=data.augment)
        return FixedAugmentationDataset(videos.rows, sampling, transform, data.feature_draws, **reading)
    return EvalDataset(videos.rows, sampling, 1, 1, model.image_size, **reading)
