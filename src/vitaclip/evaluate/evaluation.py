"""Evaluation of a model on labelled videos: supervised with the names it was trained on, zero-shot with others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from vitaclip.config import DataConfig, RuntimeConfig, ViewsConfig
from vitaclip.data import EvalDataset, VideoRow, eval_batches, frame_sampling, index_cache
from vitaclip.evaluate.metrics import EvaluationResult, Scores, summarize
from vitaclip.evaluate.scoring import score_videos
from vitaclip.model import VitaCLIP
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
        templates: Sequence[str] | None = None,
    ) -> None:
        """Put an evaluation together.

        Args:
            model: on its device; its sampling decides the frames.
            rows: the videos; labels count through `class_names`.
            class_names: the candidates, trained on or not.
            views: clips and crops of each video.
            runtime: precision.
            data: worker processes, batch size, index cache, and what to do about videos that cannot be read.
            templates: hand-written texts instead of the learned context.
        """
        self.model, self.class_names, self.templates = model, tuple(class_names), templates
        self._autocast = partial(autocast, runtime, model.device)
        dataset = EvalDataset(
            rows,
            frame_sampling(model.config.sampling, model.config.video.num_frames),
            temporal_views=views.temporal,
            spatial_crops=views.spatial,
            size=model.image_size,
            on_error=data.on_error,
            index_cache=index_cache(data.index_cache),
        )
        self.num_videos = len(dataset)
        self._batches = partial(eval_batches, dataset, data.eval_batch_size, data.workers)

    @torch.no_grad()
    def run(self, on_progress: Callable[[int], None] = lambda _: None) -> Evaluated:
        """Score every video; text features are computed once. `on_progress` gets the number of videos just done."""
        self.model.eval()
        with self._autocast():
            text = self.model.encode_text(self.class_names, self.templates)
        scores = score_videos(self.model, self._batches(), text, self._autocast, on_progress)
        return Evaluated(scores, summarize(scores, self.class_names))
