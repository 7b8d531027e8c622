"""Evaluation of a model on labelled videos: supervised with the names it was trained on, zero-shot with others.

Axes: n videos, V views, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.lists.sources import names_shards, read_videos
from vitaclip.data.lists.video_list import VideoList, VideoSample
from vitaclip.data.loading.loader import EvalDataset, eval_batches
from vitaclip.data.workers import expect_processes
from vitaclip.distributed import SINGLE_PROCESS, DistEnv
from vitaclip.evaluation.class_texts import ClassTexts, encode_classes
from vitaclip.evaluation.decision import Calibration, Decider, DecisionConfig, DecisionResult, measure
from vitaclip.evaluation.feature_cache import cached_features
from vitaclip.evaluation.metrics import EvaluationResult, Scores, summarize
from vitaclip.evaluation.scoring import (
    VideoFeatures,
    ViewEncoder,
    check_aggregation,
    fuse_logits,
    fuse_views,
    join,
    views_reader,
)
from vitaclip.model import VideoModel
from vitaclip.names import ClassIndex
from vitaclip.parts.config import check_feature_cache
from vitaclip.runtime import RuntimeConfig, autocast, describe_computed, pick_device

OnProgress = Callable[[int], None]
"""Called with the number of videos just done."""
_VIDEOS_AT_A_TIME = 1024


@dataclass(frozen=True)
class Evaluated:
    """The scores of every video and what they come to."""

    scores: Scores
    result: EvaluationResult
    decision: DecisionResult | None = None
    """How good "none of these" and sets of classes were, if they were asked for."""
    calibration: Calibration | None = None
    """What later decisions can go by, if that was asked for."""


class Evaluator:
    """Scores one model on any lists of videos, with any candidates and views.

    Example:
        >>> from vitaclip.data.lists.sources import read_videos
        >>> videos = read_videos("videos", "my videos")
        >>> evaluator = Evaluator(VideoModel.from_pretrained("miniature"), RuntimeConfig(), DataConfig(workers=0))
        >>> evaluator.run(videos.samples, videos.class_names, ViewsConfig()).result.top1
        1.0
    """

    def __init__(
        self,
        model: VideoModel,
        runtime: RuntimeConfig,
        data: DataConfig,
        templates: Sequence[str] = (),
        dist: DistEnv = SINGLE_PROCESS,
        decision: DecisionConfig | None = None,
        unknown: Sequence[VideoSample] = (),
    ) -> None:
        """Prepare the model.

        Args:
            model: on its device; its sampling decides the frames, unless the views do.
            runtime: precision.
            data: worker processes, batch size, caches, limits, and what to do about videos that cannot be read.
            templates: texts with one `{}` each, instead of what the model has learned.
            dist: the processes that share the videos; each gets the result of all.
            decision: measure "none of these" and sets of classes too, and make a calibration.
            unknown: videos of no candidate, which are to be rejected.

        Raises:
            ValueError: for a feature cache that the model cannot have, or for decisions of a model that keeps none.
        """
        if decision and not model.head.comparable:
            raise ValueError(f"the head {model.head.name!r} keeps no features to decide by; ask predict, not eval")
        check_feature_cache(data, model.config)
        self.model = model.prepare(runtime)
        self._runtime, self._data, self._templates, self._dist = runtime, data, templates, dist
        self._decision, self._unknown = decision, tuple(unknown)
        self._autocast = partial(autocast, runtime, model.device)
        expect_processes(data)

    def run(
        self,
        samples: Sequence[VideoSample],
        names: Sequence[str],
        views: ViewsConfig,
        on_progress: OnProgress = lambda _: None,
    ) -> Evaluated:
        """Score every video. Labels are indices into the candidates' names, which may be trained on or not."""
        texts = self.encode_texts(names)  # first: a name that does not fit costs no video
        return self.score(self.encode(samples, views, [texts], on_progress), texts)

    def encode_texts(
        self, names: Sequence[str], texts: Sequence[str] | None = None, features: Tensor | None = None
    ) -> ClassTexts:
        """The candidates; see `encode_classes`."""
        with self._autocast():
            return encode_classes(self.model, names, self._templates, texts, features)

    def encode(
        self,
        samples: Sequence[VideoSample],
        views: ViewsConfig,
        candidates: Sequence[ClassTexts],
        on_progress: OnProgress = lambda _: None,
    ) -> VideoFeatures:
        """Embed every video, which is nearly all of the work; the features can be scored against many candidates.

        Args:
            samples: the videos.
            views: clips and crops of each video, and how they become one answer.
            candidates: from `encode_texts`: all that the videos will be scored against. A model whose features cannot
                be kept compares the videos with them now.
            on_progress: called with the number of videos just done.
        """
        data, dist = self._data, self._dist
        check_aggregation(self.model, views.aggregation)  # first: a mistake opens no video
        dataset = EvalDataset(samples, views_reader(self.model, data, views), data.on_error)
        encoder = ViewEncoder(self.model.eval(), views.normalization, self._runtime)
        known = None if self.model.head.comparable else torch.cat([texts.features for texts in candidates])
        if data.feature_cache:
            share = dist.rank_range(len(samples))
            own = cached_features(encoder, dataset, data, known, share, on_progress)
        else:
            done, sizes = [], (data.eval_batch_size, data.workers, dist.rank, dist.world_size, data.time_limit_seconds)
            for batch in eval_batches(dataset, *sizes):
                features = encoder.encode(batch.video, known) if batch.indices else torch.empty(0, 0, 0)
                indices = torch.tensor(batch.indices, dtype=torch.int64)
                done.append(VideoFeatures(features, batch.labels, indices, batch.skipped, batch.notes))
                on_progress(len(batch.labels) + len(batch.skipped))
            own = join(done)
        # The ranks' shards follow each other, so the videos keep the order of the list.
        return replace(join(dist.gather(own)), views=views, candidates=tuple(candidates))

    def score(self, videos: VideoFeatures, texts: ClassTexts) -> Evaluated:
        """Compare embedded videos, whose labels are indices into the candidates, with these.

        Args:
            videos: from `encode`.
            texts: the candidates, from `encode_texts`.

        Raises:
            ValueError: for candidates that were not given to `encode`, if the features of the model cannot be kept.
        """
        aggregation, probabilities = videos.views.aggregation, [torch.empty(0, len(texts.names))]
        for own in videos.features.split(_VIDEOS_AT_A_TIME) if len(videos.indices) else ():
            if self.model.head.comparable:
                probabilities.append(fuse_views(self.model, own, texts.features, aggregation))
            else:
                probabilities.append(fuse_logits(self.model, own[..., _columns(videos, texts)], aggregation))
        computed = describe_computed(self._runtime, self.model.device)
        scores = Scores(torch.cat(probabilities), videos.labels, videos.indices, videos.skipped, computed, videos.notes)
        evaluated = Evaluated(scores, summarize(scores, texts.names))
        return self._decide(videos, texts, evaluated, self._decision) if self._decision else evaluated

    def _decide(
        self, videos: VideoFeatures, texts: ClassTexts, evaluated: Evaluated, config: DecisionConfig
    ) -> Evaluated:
        """Add how good the decisions are, and what later ones can go by; "none of these" wherever the model can."""
        with self._autocast():
            decider = Decider(self.model, texts, config, measured=True)
        scores, aggregation, unknown = evaluated.scores, videos.views.aggregation, None
        evidence = decider.evidence(videos.features, aggregation)
        if self._unknown:
            others = self.encode(self._unknown, videos.views, [texts]).features
            probabilities = fuse_views(self.model, others, texts.features, aggregation)
            unknown = probabilities, decider.evidence(others, aggregation)
        measured = measure(decider, scores, evidence, unknown)
        calibration = Calibration.fit(scores, evidence.score, texts.names, decider.note)
        return replace(evaluated, decision=measured, calibration=calibration)


def _columns(videos: VideoFeatures, texts: ClassTexts) -> slice:
    """Where the logits of candidates are among those of all that the videos were compared with."""
    start = 0
    for each in videos.candidates:
        if each is texts:
            return slice(start, start + len(texts.names))
        start += len(each.names)
    raise ValueError("this model compares videos with names while it looks at them; give all names beforehand")


def read_test_videos(source: str, known: Sequence[str], data: DataConfig) -> VideoList:
    """The videos of a test; candidates are the names in `data.classes`, else those that the model knows, else, where a
    folder shows others, the folder's, spelled as the model does, with a note that says so."""
    keep = data.on_error == "skip"
    read = partial(read_videos, source, "the list of videos", root=data.root, classes=data.classes, keep_absent=keep)
    if not Path(source).is_dir() or data.classes or names_shards(source):
        return read(class_names=known or None)
    found, index = read().class_names, ClassIndex(known)
    numbers = [index.find(name) for name in found]
    new = [name for name, number in zip(found, numbers, strict=True) if number is None]
    if not new:
        return read(class_names=known)
    spelled = (name if n is None else known[n] for name, n in zip(found, numbers, strict=True))
    videos = read(class_names=tuple(dict.fromkeys(spelled)))
    such = ", ".join(map(repr, new[:3])) + ", ..." * (len(new) > 3)
    said = f"the candidates are the folder's {len(found)} classes, not the model's {len(known)}, which lack {such}"
    return replace(videos, note="; ".join(filter(None, [said * bool(known), videos.note])))


def evaluate(
    model: VideoModel | str | Path,
    videos: str | Path,
    *,
    templates: Sequence[str] = (),
    views: ViewsConfig | None = None,
    runtime: RuntimeConfig | None = None,
    data: DataConfig | None = None,
) -> EvaluationResult:
    """Accuracies of a model on a folder of class folders, a list file or tar files.

    Args:
        model: the model, or what `VideoModel.from_pretrained` loads, such as `runs/doors`.
        videos: where they are; for the candidates see `read_test_videos`.
        templates: texts with one `{}` each, instead of what the model has learned.
        views: how a video is looked at.
        runtime: device and precision.
        data: the names of the classes, workers, batch size, and what to do about broken videos.

    >>> import vitaclip
    >>> vitaclip.evaluate("miniature", "videos", data=DataConfig(workers=0)).top1
    1.0
    """
    runtime, data = runtime or RuntimeConfig(), data or DataConfig()
    loaded = model if isinstance(model, VideoModel) else VideoModel.from_pretrained(model)
    listed = read_test_videos(str(videos), loaded.class_names, data)
    evaluator = Evaluator(loaded.to(pick_device(runtime.device)), runtime, data, templates)
    return evaluator.run(listed.samples, listed.class_names, views or ViewsConfig()).result
