"""Evaluation of a model on labelled videos: supervised with the names it was trained on, zero-shot with others.

Axes: S models whose probabilities are mixed (mostly one), K classes, D embedding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

from vitaclip.data import EvalDataset, VideoSample, eval_batches, eval_views, expect_processes, read_options
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.distributed import SINGLE_PROCESS, DistEnv
from vitaclip.evaluate.class_texts import ClassPrompts, ClassTexts, encode_classes
from vitaclip.evaluate.feature_cache import cached_features
from vitaclip.evaluate.metrics import EvaluationResult, Scores, summarize
from vitaclip.evaluate.scoring import (
    VideoFeatures,
    check_average,
    encode_videos,
    fuse_logits,
    fuse_views,
    gather_features,
    score_videos,
)
from vitaclip.interpolation import InterpolateConfig, frozen_clip, interpolate
from vitaclip.model import VideoModel
from vitaclip.parts.config import check_feature_cache
from vitaclip.runtime import RuntimeConfig, autocast, describe_computed


@dataclass(frozen=True)
class Evaluated:
    """The scores of every video and what they come to."""

    scores: Scores
    result: EvaluationResult


class Evaluation:
    """A list of videos with candidate names, ready to be run on a model, any number of times."""

    def __init__(
        self,
        model: VideoModel,
        rows: Sequence[VideoSample],
        class_names: Sequence[str],
        views: ViewsConfig,
        runtime: RuntimeConfig,
        data: DataConfig,
        prompts: ClassPrompts | None = None,
        dist: DistEnv = SINGLE_PROCESS,
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
            prompts: templates instead of the learned context, and descriptions.
            dist: those that share the videos; each gets the result of all.
            interpolation: between frozen CLIP and the model.

        Raises:
            ValueError: for an interpolation that the model does not have; see `vitaclip.interpolation`.
        """
        self.dist = dist
        self.model, self.class_names = model, tuple(class_names)
        models, self._weights = _sides(model, interpolation or InterpolateConfig())
        self.models = tuple(each.prepare(runtime) for each in models)
        for each in self.models:
            check_average(each, views.average)
        self.views, self.interpolation = views, interpolation or InterpolateConfig()
        self._prompts = prompts
        self._known: list[tuple[ClassTexts, ...]] = []
        self._autocast = partial(autocast, runtime, model.device)
        self._computed = describe_computed(runtime, model.device)
        self._runtime, self._data = runtime, data

        def with_views(other: ViewsConfig) -> Evaluation:
            everything_else = (runtime, data, prompts, dist, interpolation)
            evaluation = Evaluation(model, rows, class_names, other, *everything_else)
            evaluation._known = self._known  # texts do not depend on how videos are looked at
            return evaluation

        self._with_views = with_views
        check_feature_cache(data, model.config)
        options = read_options(data, views)
        chosen = eval_views(model.config.sampling, model.config.num_frames, model.image_size, views, options)
        self.frames = chosen.sampling.num_frames
        self._dataset = EvalDataset(rows, chosen, data.on_error)
        self.num_videos = len(self._dataset)
        expect_processes(data)

    @property
    def num_own_videos(self) -> int:
        """Those that this process embeds."""
        if self._data.feature_cache:
            return len(self.dist.rank_range(self.num_videos))
        size = self._data.eval_batch_size
        batches = self.dist.rank_range(-(-self.num_videos // size))
        return min(self.num_videos, size * batches.stop) - min(self.num_videos, size * batches.start)

    def with_frames(self, frames: int) -> "Evaluation":
        """The same evaluation with another number of frames a clip."""
        return self._with_views(replace(self.views, frames=frames))

    @cached_property
    def texts(self) -> tuple[ClassTexts, ...]:
        """The candidates for each of S models, made once."""
        return self.encode_texts(self.class_names)

    def run(self, on_progress: Callable[[int], None] = lambda _: None) -> Evaluated:
        """Score every video. `on_progress` gets the number of videos just done."""
        texts = self.texts  # first: a name that does not fit costs no video
        return self.score(self.encode(on_progress), texts)

    def encode_texts(self, names: Sequence[str], texts: Sequence[str] | None = None) -> tuple[ClassTexts, ...]:
        """Candidates for each of S models, see `encode_classes`. Before `encode`, so that models of which no features
        can be kept compare the videos with them."""
        with self._autocast():
            made = tuple(encode_classes(model, names, self._prompts, texts) for model in self.models)
        self._known.append(made)
        return made

    def encode(self, on_progress: Callable[[int], None] = lambda _: None) -> VideoFeatures:
        """Embed every video, which is nearly all of the work; what comes out can be scored against many lists."""
        return gather_features(self._encode_share(on_progress), self.dist)

    def _encode_share(self, on_progress: Callable[[int], None]) -> VideoFeatures:
        """The videos of this process."""
        pixels, data, dist = self.views.pixels, self._data, self.dist
        if data.feature_cache:
            share = dist.rank_range(self.num_videos)
            kept = cached_features(
                self.model, self._dataset, data, self._runtime, pixels=pixels, share=share, on_progress=on_progress
            )
            # Models in which nothing that trains changes the features see a video alike.
            return replace(kept, features=kept.features * len(self.models))
        batches = eval_batches(
            *(self._dataset, data.eval_batch_size, data.workers, dist.rank, dist.world_size),
            time_limit_seconds=data.time_limit_seconds,
        )
        known = [self._known_classes(number) for number in range(len(self.models))]
        return encode_videos(self.models, batches, pixels, self._autocast, on_progress, known)

    def _known_classes(self, number: int) -> Tensor | None:
        """All class features to compare with at once, for a model of which no features can be kept."""
        if self.models[number].head.comparable:
            return None
        return torch.cat([texts[number].features for texts in self._known])

    def score(
        self, videos: VideoFeatures, texts: Sequence[ClassTexts], weights: Sequence[float] | None = None
    ) -> Evaluated:
        """Compare embedded videos, whose labels count through the candidates, with these.

        Args:
            videos: from `encode`.
            texts: the candidates for each model, from `encode_texts`.
            weights: of the models, if not as the interpolation has them.

        Raises:
            ValueError: for candidates that were not known when the videos were embedded, of a model of which no
                features can be kept.
        """

        def fuse(number: int, seen: Tensor) -> Tensor:
            model, average = self.models[number], self.views.average
            if model.head.comparable:
                return fuse_views(model, seen, texts[number].features, average)
            return fuse_logits(model, seen[..., self._columns(texts)], average)

        names = texts[0].names
        scores = score_videos(videos, fuse, len(names), weights or self._weights, self._computed)
        return Evaluated(scores, summarize(scores, names))

    def _columns(self, texts: Sequence[ClassTexts]) -> slice:
        """Where the logits of candidates are among those of all that were known."""
        start = 0
        for known in self._known:
            stop = start + len(known[0].names)
            if known is texts:
                return slice(start, stop)
            start = stop
        raise ValueError("this model compares videos with names while it looks at them; give all names beforehand")

    def sweep(self, videos: VideoFeatures, ratios: Sequence[float]) -> list[Evaluated]:
        """`score` at several ratios between frozen CLIP's scores (0) and the model's (1), with no more to encode."""
        assert len(self.models) == 2, "interpolation.space is not scores"
        return [self.score(videos, self.texts, (ratio, 1 - ratio)) for ratio in ratios]


def describe_interpolation(config: InterpolateConfig) -> str:
    """In words; empty if there is none."""
    if not config.space:
        return ""
    what = "weights" if config.space == "weights" else "probabilities"
    return f"{what}: {config.ratio:g} x the model + {1 - config.ratio:g} x frozen CLIP"


def looking_model(model: VideoModel, interpolation: InterpolateConfig) -> VideoModel:
    """The model that looks at the videos: with weights interpolated, the one between; with scores, the trained one."""
    return _sides(model, interpolation)[0][0]


def _sides(model: VideoModel, config: InterpolateConfig) -> tuple[tuple[VideoModel, ...], tuple[float, ...]]:
    """The models whose probabilities are mixed, and their weights."""
    if config.space == "weights":
        return (interpolate(model, config.ratio, config.backbone),), (1.0,)
    if config.space == "scores":
        return (model, frozen_clip(model, config.backbone)), (config.ratio, 1 - config.ratio)
    return (model,), (1.0,)
