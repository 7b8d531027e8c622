"""Evaluation of a model on labelled videos: supervised with the names it was trained on, zero-shot with others.

Axes: S models whose probabilities are mixed (mostly one), K classes, D embedding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from vitaclip.config import DataConfig, InterpolateConfig, RuntimeConfig, ViewsConfig, check_feature_cache
from vitaclip.data import EvalDataset, VideoRow, eval_batches, expect_processes, index_cache, view_sampling
from vitaclip.evaluate.kept_features import kept_features
from vitaclip.evaluate.metrics import EvaluationResult, Scores, summarize
from vitaclip.evaluate.scoring import VideoFeatures, encode_videos, gather_features, score_videos
from vitaclip.evaluate.wording import Wording, encode_names
from vitaclip.interpolation import frozen_clip, interpolate
from vitaclip.model import VitaCLIP
from vitaclip.processes import ALONE, Processes
from vitaclip.runtime import autocast, describe_computed


@dataclass(frozen=True)
class Evaluated:
    """The scores of every video and what they come to."""

    scores: Scores
    result: EvaluationResult


class Evaluation:
    """A list of videos with candidate names, ready to be run on a model, any number of times."""

    def __init__(
        self,
        model: VitaCLIP,
        rows: Sequence[VideoRow],
        class_names: Sequence[str],
        views: ViewsConfig,
        runtime: RuntimeConfig,
        data: DataConfig,
        wording: Wording | None = None,
        processes: Processes = ALONE,
        interpolation: InterpolateConfig | None = None,
    ) -> None:
        """Put an evaluation together.

        Args:
            model: on its device; its sampling decides the frames, unless the views do.
            rows: the videos; labels count through `class_names`.
            class_names: the candidates, trained on or not.
            views: clips and crops of each video, and how they become one answer.
            runtime: precision.
            data: worker processes, batch size, caches, limits, and what to do about videos that cannot be read.
            wording: templates instead of the learned context, and descriptions.
            processes: those that share the videos; each gets the result of all.
            interpolation: between frozen CLIP and the model.

        Raises:
            ValueError: for an interpolation that the model does not have; see `vitaclip.interpolation`.
        """
        self.processes = processes
        self.model, self.class_names = model, tuple(class_names)
        models, self._weights = _sides(model, interpolation or InterpolateConfig())
        self._models = tuple(each.prepare(runtime) for each in models)
        self._views, self._wording = views, wording
        self._autocast = partial(autocast, runtime, model.device)
        self._computed = describe_computed(runtime, model.device)
        self._runtime, self._data = runtime, data

        def with_views(other: ViewsConfig) -> Evaluation:
            everything_else = (runtime, data, wording, processes, interpolation)
            return Evaluation(model, rows, class_names, other, *everything_else)

        self._with_views = with_views
        check_feature_cache(data, model.config)
        sampling = view_sampling(model.config.sampling, model.config.video.num_frames, views)
        self.frames = sampling.num_frames
        self._dataset = EvalDataset(
            rows,
            sampling,
            temporal_views=views.temporal,
            spatial_crops=views.spatial,
            size=model.image_size,
            on_error=data.on_error,
            crop=views.crop,
            index_cache=index_cache(data.index_cache),
            limits=data.limits,
            pixel_aspect=views.pixel_aspect or data.pixel_aspect,
        )
        self.num_videos = len(self._dataset)
        expect_processes(data)

    @property
    def num_own_videos(self) -> int:
        """Those that this process embeds."""
        if self._data.feature_cache:
            return len(self.processes.share(self.num_videos))
        size = self._data.eval_batch_size
        batches = self.processes.share(-(-self.num_videos // size))
        return min(self.num_videos, size * batches.stop) - min(self.num_videos, size * batches.start)

    def with_frames(self, frames: int) -> "Evaluation":
        """The same evaluation with another number of frames a clip."""
        return self._with_views(replace(self._views, frames=frames))

    @torch.no_grad()
    def run(self, on_progress: Callable[[int], None] = lambda _: None) -> Evaluated:
        """Score every video; text features are computed once. `on_progress` gets the number of videos just done."""
        text_features = self.encode_texts(self.class_names)  # first: a name that does not fit costs no video
        return self.score(self.encode(on_progress), self.class_names, text_features)

    @torch.no_grad()
    def encode_texts(self, names: Sequence[str], texts: Sequence[str] | None = None) -> Tensor:
        """Text features (S, K, D) of candidates for each model; see `encode_names`."""
        with self._autocast():
            return torch.stack([encode_names(model, names, self._wording, texts) for model in self._models])

    def encode(self, on_progress: Callable[[int], None] = lambda _: None) -> VideoFeatures:
        """Embed every video, which is nearly all of the work; what comes out can be scored against many lists."""
        return gather_features(self._encode_share(on_progress), self.processes)

    def _encode_share(self, on_progress: Callable[[int], None]) -> VideoFeatures:
        """The videos of this process."""
        pixels, data, processes = self._views.pixels, self._data, self.processes
        if data.feature_cache:
            share = processes.share(self.num_videos)
            kept = kept_features(
                self.model, self._dataset, data, self._runtime, pixels=pixels, share=share, on_progress=on_progress
            )
            # Models without prompts in the image tower see a video alike.
            return replace(kept, features=kept.features.expand(-1, len(self._models), -1, -1))
        batches = eval_batches(
            *(self._dataset, data.eval_batch_size, data.workers, processes.rank, processes.count),
            time_limit_seconds=data.time_limit_seconds,
        )
        return encode_videos(self._models, batches, pixels, self._autocast, on_progress)

    def score(self, videos: VideoFeatures, names: Sequence[str], text_features: Tensor | None = None) -> Evaluated:
        """Compare embedded videos, whose labels count through `names`, with the candidates.

        `text_features` are from `encode_texts`, which is asked if there are none.
        """
        text_features = self.encode_texts(names) if text_features is None else text_features
        return self._score(videos, names, text_features, self._weights)

    def sweep(self, videos: VideoFeatures, names: Sequence[str], ratios: Sequence[float]) -> list[Evaluated]:
        """`score` at several ratios between frozen CLIP's scores (0) and the model's (1), with no more to encode."""
        assert len(self._models) == 2, "interpolation.space is not scores"
        text_features = self.encode_texts(names)
        return [self._score(videos, names, text_features, (ratio, 1 - ratio)) for ratio in ratios]

    def _score(
        self, videos: VideoFeatures, names: Sequence[str], text_features: Tensor, weights: Sequence[float]
    ) -> Evaluated:
        scores = score_videos(self._models, videos, text_features, self._views.average, weights, self._computed)
        return Evaluated(scores, summarize(scores, names))


def describe_interpolation(config: InterpolateConfig) -> str:
    """In words; empty if there is none."""
    if not config.space:
        return ""
    what = "weights" if config.space == "weights" else "probabilities"
    return f"{what}: {config.ratio:g} x the model + {1 - config.ratio:g} x frozen CLIP"


def looking_model(model: VitaCLIP, interpolation: InterpolateConfig) -> VitaCLIP:
    """The model that looks at the videos: with weights interpolated, the one between; with scores, the trained one."""
    return _sides(model, interpolation)[0][0]


def _sides(model: VitaCLIP, config: InterpolateConfig) -> tuple[tuple[VitaCLIP, ...], tuple[float, ...]]:
    """The models whose probabilities are mixed, and their weights."""
    if config.space == "weights":
        return (interpolate(model, config.ratio, config.backbone),), (1.0,)
    if config.space == "scores":
        return (model, frozen_clip(model, config.backbone)), (config.ratio, 1 - config.ratio)
    return (model,), (1.0,)
