"""Evaluation of a model on labelled videos: supervised with the names it was trained on, zero-shot with others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from vitaclip.config import DataConfig, RuntimeConfig, ViewsConfig
from vitaclip.data import EvalDataset, VideoRow, eval_batches, index_cache, view_sampling
from vitaclip.evaluate.metrics import EvaluationResult, Scores, summarize
from vitaclip.evaluate.scoring import VideoFeatures, encode_videos, gather_features, score_videos
from vitaclip.evaluate.wording import Wording, encode_names
from vitaclip.model import VitaCLIP
from vitaclip.processes import ALONE, Processes
from vitaclip.runtime import autocast


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
    ) -> None:
        """Put an evaluation together.

        Args:
            model: on its device; its sampling decides the frames, unless the views do.
            rows: the videos; labels count through `class_names`.
            class_names: the candidates, trained on or not.
            views: clips and crops of each video, and how they become one answer.
            runtime: precision.
            data: worker processes, batch size, index cache, limits, and what to do about videos that cannot be read.
            wording: templates instead of the learned context, and descriptions.
            processes: those that share the videos; each gets the result of all.
        """
        self.processes = processes
        self.model, self.class_names = model, tuple(class_names)
        self._views, self._wording = views, wording
        self._autocast = partial(autocast, runtime, model.device)
        dataset = EvalDataset(
            rows,
            view_sampling(model.config.sampling, model.config.video.num_frames, views),
            temporal_views=views.temporal,
            spatial_crops=views.spatial,
            size=model.image_size,
            on_error=data.on_error,
            crop=views.crop,
            index_cache=index_cache(data.index_cache),
            limits=data.limits,
        )
        self.num_videos = len(dataset)
        share = (processes.rank, processes.count)
        self._batches = partial(
            eval_batches, dataset, data.eval_batch_size, data.workers, *share, data.time_limit_seconds
        )

    @torch.no_grad()
    def run(self, on_progress: Callable[[int], None] = lambda _: None) -> Evaluated:
        """Score every video; text features are computed once. `on_progress` gets the number of videos just done."""
        return self.score(self.encode(on_progress), self.class_names)

    def encode(self, on_progress: Callable[[int], None] = lambda _: None) -> VideoFeatures:
        """Embed every video, which is nearly all of the work; what comes out can be scored against many lists."""
        own = encode_videos(self.model, self._batches(), self._views.pixels, self._autocast, on_progress)
        return gather_features(own, self.processes)

    def score(self, videos: VideoFeatures, names: Sequence[str], texts: Sequence[str] | None = None) -> Evaluated:
        """Compare embedded videos, whose labels count through `names`, with the candidates; see `encode_names`."""
        with self._autocast():
            text_features = encode_names(self.model, names, self._wording, texts)
        scores = score_videos(self.model, videos, text_features, self._views.average)
        return Evaluated(scores, summarize(scores, names))
