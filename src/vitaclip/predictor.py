"""Using a model: set the classes once, predict many videos.

Axes: n videos, V views, T frames, H x W pixels, K classes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image
from torch import Tensor

from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.clips import EvalViews, eval_views, read_options
from vitaclip.data.loading.loader import EvalBatch, stream_batches
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.given import as_given
from vitaclip.data.reading.member import ShardMember, VideoPath
from vitaclip.data.reading.tar import to_video_path
from vitaclip.evaluate.class_texts import ClassPrompts, ClassTexts, Descriptions, encode_classes
from vitaclip.evaluate.scoring import encode_views, fuse_views
from vitaclip.model import VideoModel
from vitaclip.names import check_class_names, refuse_text
from vitaclip.runtime import RuntimeConfig, autocast, describe_computed, pick_device

Video = str | VideoPath | bytes | IO[bytes] | np.ndarray | Tensor | Sequence[Image.Image]
"""A path, an address, bytes, a file opened in binary mode, frames (T, H, W, 3) or (T, 3, H, W) in uint8, or images."""


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one video, best first; probabilities in [0, 1] over all candidate classes."""

    path: VideoPath
    """The file; of a video without one, the name that messages call it by."""
    names: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    scores: Tensor | None = field(default=None, repr=False, compare=False)
    """(K,) probabilities of all candidates."""
    error: str = ""
    """Why the video could not be read; there are no names then."""

    @property
    def label(self) -> str:
        """The most probable class; empty if the video could not be read."""
        return self.names[0] if self.names else ""

    @property
    def score(self) -> float:
        """The probability of `label`; 0 if the video could not be read."""
        return self.probabilities[0] if self.probabilities else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Everything but `scores`, ready for JSON."""
        ranked = zip(self.names, self.probabilities, strict=True)
        classes = [{"name": name, "probability": probability} for name, probability in ranked]
        answer = {"path": str(self.path), "label": self.label, "score": self.score, "classes": classes}
        return answer | {"error": self.error}

    def __str__(self) -> str:
        if self.error:
            return self.error
        best = ", ".join(f"{name} {p:.1%}" for name, p in zip(self.names, self.probabilities, strict=True))
        return f"{self.path}: {best}"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = [(name, f"{p:.1%}") for name, p in zip(self.names, self.probabilities, strict=True)]
        cells = "".join(f"<tr><td>{escape(name)}</td><td>{p}</td></tr>" for name, p in rows or [(self.error, "")])
        return f"<table><caption>{escape(str(self.path))}</caption>{cells}</table>"


class Predictor:
    """A model with a list of classes in mind. None of its results has a gradient.

    Example:
        >>> predictor = Predictor("miniature")
        >>> texts = predictor.set_classes(["red heart moving left", "red heart moving right"])
        >>> print(predictor.predict("video.mp4"))
        video.mp4: red heart moving left 99...%, red heart moving right 0...%
    """

    def __init__(
        self,
        model: VideoModel | str | Path,
        *,
        views: ViewsConfig | None = None,
        runtime: RuntimeConfig | None = None,
        data: DataConfig | None = None,
    ) -> None:
        """Take a model into use; the candidates are its own class names, if it has any, until others are set.

        Args:
            model: whatever it was trained for, or what `VideoModel.from_pretrained` loads, such as `runs/doors`.
            views: which clips and crops of a video are looked at.
            runtime: device and precision.
            data: how videos are read: limits, time limit, workers, batch size, and what to do about broken ones.
        """
        runtime = runtime or RuntimeConfig()
        device = pick_device(runtime.device)
        loaded = model if isinstance(model, VideoModel) else VideoModel.from_pretrained(model)
        self.model = loaded.to(device).prepare(runtime).eval()
        self.views, self.data = views or ViewsConfig(), data or DataConfig()
        self.computed = describe_computed(runtime, device)
        self.autocast = partial(autocast, runtime, device)
        self._texts: ClassTexts | None = None

    def set_classes(
        self,
        names: Sequence[str],
        templates: Sequence[str] | None = None,
        descriptions: Descriptions | None = None,
    ) -> ClassTexts:
        """Choose the K candidate classes; their features are computed here, once, as an evaluation does.

        Args:
            names: class names in plain words.
            templates: hand-written texts with one `{}` each instead of the learned context.
            descriptions: sentences about each class, by its name.

        Returns:
            The candidates; their `note` says in words how the features were made.

        Raises:
            ValueError: for an empty list, a name that comes twice, or names that the text tower cannot take.

        >>> Predictor("miniature").set_classes(["a key growing", "a key shrinking"]).note
        'the learned context, shared by all names'
        """
        names = check_class_names(names, "set_classes")
        refuse_text(templates, "templates")
        prompts = ClassPrompts(tuple(templates or ()), descriptions or {})
        with self.autocast():
            self._texts = encode_classes(self.model, names, prompts)
        return self._texts

    @property
    def class_names(self) -> tuple[str, ...]:
        """The candidates: those that were set, else the model's own."""
        return self._texts.names if self._texts else self.model.class_names

    @property
    def texts(self) -> ClassTexts:
        """The candidates; the model's own names, if no others were set.

        Raises:
            ValueError: if the model has no names either.
        """
        if self._texts is None:
            if not self.model.class_names:
                raise ValueError("no classes are set; call set_classes([...]) first")
            return self.set_classes(self.model.class_names)
        return self._texts

    def probabilities(self, features: Tensor) -> Tensor:
        """(n, K) float32 on the CPU, of n videos whose views were embedded, (n, V, ...)."""
        return fuse_views(self.model, features, self.texts.features, self.views.aggregation)

    @property
    def reader(self) -> EvalViews:
        """Reads the views of a video; `reader.load` gives the numbers of their frames too. It holds no model, so that
        it can be sent to other processes."""
        config, options = self.model.config, read_options(self.data, self.views)
        return eval_views(
            config.sampling, config.num_frames, self.model.image_size, self.model.frame_fit, self.views, options
        )

    def load(self, video: Video) -> Tensor:
        """The views of a video, uint8 (V, T, 3, H, W); the crops of the first clip come first."""
        return self.reader.read(_find(video))

    def encode(self, video: Video) -> Tensor:
        """Embed the views of a video: (V, ...) float32 on the CPU, one of unit length for most models.

        >>> Predictor("miniature").encode("video.mp4").shape
        torch.Size([3, 128])
        """
        return self.encode_views(self.load(video))

    def encode_views(self, views: Tensor) -> Tensor:
        """`encode` of views that were loaded before, uint8 (V, T, 3, H, W)."""
        return encode_views(self.model, views[None], self.views.normalization, self.autocast)[0]

    def predict(self, video: Video, top_k: int = 5) -> Prediction:
        """The `top_k` most probable classes of a video, which is read in this process and without a time limit.

        Raises:
            ValueError: if no classes are set, or if it is not a readable video (then a `VideoError`).

        >>> Predictor("miniature").predict("video.mp4").label
        'red heart moving left'
        >>> Predictor("miniature").predict(np.zeros((16, 64, 64, 3), np.uint8), top_k=2).to_dict()["path"]
        'video'
        """
        _ = self.texts  # first: without candidates no video is opened
        found = _find(video)
        scores = self.probabilities(self.encode_views(self.reader.read(found))[None])[0]
        return self._prediction(found, scores, top_k)

    def predict_many(
        self, videos: Iterable[Video], top_k: int = 5, on_progress: Callable[[int], None] = lambda _: None
    ) -> Iterator[Prediction]:
        """`predict` for each of several videos, in order, which are asked for as they are needed: a generator will do.

        Worker processes read them ahead and are killed when a video takes longer than the time limit; they go through
        the model in batches. A script needs `if __name__ == "__main__":` around its calls, unless `data.workers` is 0.

        Args:
            videos: what `predict` takes.
            top_k: how many classes of each.
            on_progress: called with the number of videos just done.

        Raises:
            VideoError: for a broken video, if `data.on_error` is raise; else its prediction has an `error`.

        >>> predictor = Predictor("miniature", data=DataConfig(workers=0))
        >>> [found.error or found.label for found in predictor.predict_many(["video.mp4", "missing.mp4"])]
        ['red heart moving left', 'missing.mp4 does not exist: check the path']
        """
        _ = self.texts  # first: without candidates no video is opened
        for paths, batch in self._batches(videos):
            found = {row: Prediction(paths[row], error=error) for row, error in batch.skipped.items()}
            if batch.indices:
                features = encode_views(self.model, batch.video, self.views.normalization, self.autocast)
                for row, scores in zip(batch.indices, self.probabilities(features), strict=True):
                    found[row] = self._prediction(paths[row], scores, top_k)
            on_progress(len(found))
            yield from (found[row] for row in sorted(found))

    def _batches(self, videos: Iterable[Video]) -> Iterator[tuple[dict[int, VideoPath], EvalBatch]]:
        """The views of many videos, with what each is called by its number."""
        refuse_text(videos, "predict_many")
        ahead: dict[int, VideoPath] = {}

        def samples() -> Iterator[VideoSample]:
            for number, video in enumerate(videos):
                try:
                    path = _find(video, f"video {number}")
                except VideoError:  # of a tar file without this member; its reader says so
                    path = Path(str(video))
                ahead[number] = path
                yield VideoSample(path, (0,), str(path))

        data = self.data
        how = data.on_error, data.eval_batch_size, data.workers, data.time_limit_seconds
        for batch in stream_batches(samples(), self.reader, *how):
            yield {row: ahead.pop(row) for row in (*batch.indices, *batch.skipped)}, batch

    def _prediction(self, path: VideoPath, scores: Tensor, top_k: int) -> Prediction:
        if top_k < 1:
            raise ValueError(f"top_k = {top_k}: must be at least 1")
        best = scores.topk(min(top_k, len(scores)))
        names = tuple(self.class_names[i] for i in best.indices.tolist())
        return Prediction(path, names, tuple(best.values.tolist()), scores)


def _find(video: Video, name: str = "video") -> VideoPath:
    return to_video_path(video if isinstance(video, ShardMember) else as_given(video, name))
