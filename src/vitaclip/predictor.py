"""Using a model: set the classes once, predict many videos.

Axes: n videos, V views, T frames, H x W pixels, K classes.
"""

import json
import math
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vitaclip.backbones.loading import fingerprint
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.lists.sources import find_videos
from vitaclip.data.loading.clips import EvalViews
from vitaclip.data.loading.loader import stream_videos
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.live import GrowingVideo, LiveVideo, is_live
from vitaclip.data.reading.path import ShardMember, VideoPath, as_given
from vitaclip.data.reading.tar import to_video_path
from vitaclip.evaluation.class_texts import ClassTexts, encode_classes
from vitaclip.evaluation.decision import NONE_OF_THESE, Decider, DecisionConfig
from vitaclip.evaluation.embeddings import Embedding, Embeddings
from vitaclip.evaluation.scoring import ViewEncoder, check_aggregation, fuse_views, views_reader
from vitaclip.model import VideoModel
from vitaclip.moments.config import MomentsConfig, WindowsConfig
from vitaclip.moments.engine import find_moments
from vitaclip.moments.live import Event, Note, live_moments
from vitaclip.moments.table import Moments
from vitaclip.moments.vectors import window_vectors
from vitaclip.names import check_class_names, in_order, refuse_text
from vitaclip.runtime import RuntimeConfig, describe_computed, pick_device
from vitaclip.settings import to_dict

Video = str | VideoPath | bytes | IO[bytes] | np.ndarray | Tensor | Sequence[Image.Image]
"""A path, an address, a stream or camera (`rtsp://...`, `camera:0`), bytes, a file opened in binary mode, frames
(T, H, W, 3) or (T, 3, H, W) in uint8, or images."""


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
    known: float | None = None
    """How much of the probability is left to all candidates beside background texts; None if there are none."""
    rejected: bool = False
    """Whether it is none of the candidates, see `DecisionConfig`."""
    chosen: tuple[str, ...] | None = None
    """The classes of a set of stated coverage, or all classes above their thresholds; None if nobody asked."""
    note: str = ""
    """Says that frames could not be decoded, so that others stand in; empty if all could."""

    @property
    def label(self) -> str:
        """The most probable class, or `none of these`; empty if the video could not be read."""
        if self.rejected:
            return NONE_OF_THESE
        return self.names[0] if self.names else ""

    @property
    def score(self) -> float:
        """The probability of `label`; 0 if the video could not be read."""
        if self.rejected and self.known is not None:
            return 1 - self.known
        return self.probabilities[0] if self.probabilities else 0.0

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """The classes with their probabilities, behind `none of these` if it is none of them."""
        named = zip(self.names, self.probabilities, strict=True)
        return [(self.label, self.score)] * self.rejected + [*named]

    @property
    def remarks(self) -> dict[str, Any]:
        """What else is said of the video: the part that the candidates have, and the classes of a set."""
        chosen = None if self.chosen is None else list(self.chosen)
        said = {"known": self.known, "chosen": chosen, "note": self.note or None}
        return {name: value for name, value in said.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Everything but `scores`, ready for JSON."""
        ranked = zip(self.names, self.probabilities, strict=True)
        classes = [{"name": name, "probability": probability} for name, probability in ranked]
        answer = {"path": str(self.path), "label": self.label, "score": self.score, "classes": classes}
        return answer | self.remarks | {"error": self.error}

    def __str__(self) -> str:
        if self.error:
            return self.error
        return f"{self.path}: " + ", ".join(f"{name} {p:.1%}" for name, p in self.ranked)

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        rows = [(name, f"{p:.1%}") for name, p in self.ranked] or [(self.error, "")]
        cells = "".join(f"<tr><td>{escape(name)}</td><td>{p}</td></tr>" for name, p in rows)
        return f"<table><caption>{escape(str(self.path))}</caption>{cells}</table>"


class Predictor:
    """A model with a list of classes in mind. None of its results has a gradient.

    Example:
        >>> predictor = Predictor("miniature")
        >>> texts = predictor.set_classes(["red heart moving left", "red heart moving right"])
        >>> print(predictor.predict("video.mp4"))
        video.mp4: red heart moving left 100.0%, red heart moving right 0.0%
    """

    def __init__(
        self,
        model: VideoModel | str | Path,
        *,
        views: ViewsConfig | None = None,
        runtime: RuntimeConfig | None = None,
        data: DataConfig | None = None,
        decision: DecisionConfig | None = None,
    ) -> None:
        """Take a model into use; the candidates are its own class names, if it has any, until others are set.

        Args:
            model: whatever it was trained for, or what `VideoModel.from_pretrained` loads, such as `runs/doors`.
            views: which clips and crops of a video are looked at.
            runtime: device and precision.
            data: how videos are read: limits, time limit, workers, batch size, and what to do about broken ones.
            decision: whether "none of these", sets of classes or several classes are among the answers.
        """
        runtime = runtime or RuntimeConfig()
        device = pick_device(runtime.device)
        loaded = model if isinstance(model, VideoModel) else VideoModel.from_pretrained(model)
        self.name = loaded.config.backbone if isinstance(model, VideoModel) else str(model)
        self.model = loaded.to(device).prepare(runtime).eval()
        self.views, self.data = views or ViewsConfig(), data or DataConfig()
        self.computed = describe_computed(runtime, device)
        self.encoder = ViewEncoder(self.model, self.views.normalization, runtime)
        self.decision = decision or DecisionConfig()
        self._texts: ClassTexts | None = None
        self._decider: Decider | None = None

    def set_classes(self, names: Iterable[str], templates: Sequence[str] = ()) -> ClassTexts:
        """Choose the K candidate classes; their features are computed here, once, as an evaluation does.

        Args:
            names: class names in plain words, in an order: a list, an array, a generator.
            templates: hand-written texts with one `{}` each instead of the learned context.

        Returns:
            The candidates; their `note` says in words how the features were made.

        Raises:
            ValueError: for an empty list, a name that comes twice, or names that the text tower cannot take; or for a
                set.

        >>> Predictor("miniature").set_classes(["a key growing", "a key shrinking"]).note
        'the learned context, shared by all names'
        """
        names = check_class_names(names, "set_classes")
        with self.encoder.autocast():
            self._texts = encode_classes(self.model, names, templates)
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

    @property
    def decider(self) -> Decider:
        """Decides what else is said of a video with the present candidates."""
        kept = self._decider
        if kept is None or kept.texts is not self.texts or kept.config != self.decision:
            with self.encoder.autocast():
                kept = self._decider = Decider(self.model, self.texts, self.decision)
        return kept

    def probabilities(self, features: Tensor) -> Tensor:
        """(n, K) float32 on the CPU, of n videos whose views were embedded, (n, V, ...)."""
        return fuse_views(self.model, features, self.texts.features, self.views.aggregation)

    @property
    def reader(self) -> EvalViews:
        """Reads the views of a video; `reader.load` gives the numbers of their frames too. It holds no model, so that
        it can be sent to other processes."""
        return views_reader(self.model, self.data, self.views)

    def load(self, video: Video) -> Tensor:
        """The views of a video, uint8 (V, T, 3, H, W); the crops of the first clip come first."""
        return self.reader.read(self._find(video))

    def encode(self, video: Video) -> Tensor:
        """Embed the views of a video: (V, ...) float32 on the CPU, one of unit length for most models.

        >>> Predictor("miniature").encode("video.mp4").shape
        torch.Size([3, 128])
        """
        return self.encode_views(self.load(video))

    def encode_views(self, views: Tensor) -> Tensor:
        """`encode` of views that were loaded before, uint8 (V, T, 3, H, W)."""
        return self.encoder.encode(views[None])[0]

    def predict(self, video: Video, top_k: int = 5) -> Prediction:
        """The `top_k` most probable classes of a video, which is read in this process and without a time limit.

        Raises:
            ValueError: if no classes are set, or if it is not a readable video (then a `VideoError`).

        >>> Predictor("miniature").predict("video.mp4").label
        'red heart moving left'
        >>> Predictor("miniature").predict(np.zeros((16, 64, 64, 3), np.uint8), top_k=2).to_dict()["path"]
        'video'
        """
        _ = self.decider  # first: without candidates no video is opened
        found = self._find(video)
        loaded = self.reader.load(found)
        return self._prediction(found, self.encode_views(loaded.views)[None], top_k, loaded.note)

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
        _ = self.decider  # first: without candidates no video is opened
        for path, found, _, note in self._encode_many(videos):
            if isinstance(found, VideoError):
                yield Prediction(path, error=str(found))
            else:
                yield self._prediction(path, found, top_k, note)
            on_progress(1)

    def embed(
        self,
        videos: Iterable[Video],
        window_seconds: float = 0.0,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Iterator[Embedding]:
        """One vector for each of several videos, from their views, or for each window of them, from one clip as in
        `moments`; read as `predict_many` does. Vectors of one model compare by their cosine, and with `texts.features`.

        Args:
            videos: what `predict` takes.
            window_seconds: length of the windows that a video is cut into, the last of which is moved back to its end;
                0: one vector for all of it.
            on_progress: called with the number of videos just done.

        Raises:
            ValueError: for a model that reads each video in the light of the names, so that it has no vector alone; or
                for a `window_seconds` that is negative or not finite.
            VideoError: as `predict_many`.

        >>> predictor = Predictor("miniature", data=DataConfig(workers=0))
        >>> [(each.start, each.end, each.vector.shape) for each in predictor.embed(["video.mp4"], window_seconds=1)]
        [(0.0, 1.0, torch.Size([128])), (0.333..., 1.333..., torch.Size([128]))]
        """
        check_aggregation(self.model, "features")
        if not 0 <= window_seconds < math.inf:
            raise ValueError(f"window_seconds = {window_seconds}: must be a finite number, at least 0")
        for path, vectors, times, error in self._vectors(videos, window_seconds):
            if error and self.data.on_error == "raise":
                raise VideoError(error)
            yield from (Embedding(path, v, *span) for v, span in zip(vectors, times, strict=True))
            if error:
                yield Embedding(path, error=error)
            on_progress(1)

    def _vectors(
        self, videos: Iterable[Video], window_seconds: float
    ) -> Iterator[tuple[VideoPath, Tensor, Sequence[tuple[float, float]], str]]:
        """Path, vectors (W, D), start and end of their windows, and error of many videos."""
        if window_seconds:
            windows = WindowsConfig(lengths_s=(window_seconds,), hop=1.0)
            paths = self._find_all(videos)
            for each in window_vectors(paths, self.reader, self.encoder, windows, self.data):
                yield each.path, each.vectors, each.times.tolist(), each.error
            return
        for path, found, seconds, _ in self._encode_many(videos):
            if isinstance(found, VideoError):
                yield path, torch.empty(0, 0), (), str(found)
            else:
                yield path, self.model.head.mean(found), ((0.0, seconds),), ""

    def moments(
        self,
        video: Video,
        config: MomentsConfig | None = None,
        *,
        queries: Sequence[str] = (),
        templates: Sequence[str] = (),
        scores_file: str | Path = "",
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Moments:
        """What happens when in a video of any length: segments with times in seconds, and the curves behind them.

        The video is read once, in this process and in bounded memory. `views` says how many frames a window has and how
        frames come to the model's size; of crops there is the central one.

        Args:
            video: what `predict` takes.
            config: windows, and how scores become segments.
            queries: texts that are searched for, each on its own, in place of the candidates.
            templates: hand-written texts with one `{}` each that queries are put in, in place of the learned context.
            scores_file: keeps the scores of the windows. After a stop the same call goes on behind them, and one with
                other settings of segments alone reads no video.
            on_progress: called with the number of chosen frames done, and with that of all.

        Returns:
            The segments found. Of a video that fails half-way or ends early, those of its part, and `error` says why.

        Raises:
            ValueError: for an empty query, one that is too long or another that the text tower cannot take, a stride
                beyond the video, no classes, or no readable video at all (then a `VideoError`).

        >>> settings = MomentsConfig(lengths_s=(0.5, 1))
        >>> found = Predictor("miniature").moments("video.mp4", settings, queries=["a red heart", "a blue key"])
        >>> [(each.label, each.start_s, round(each.end_s, 2)) for each in found.segments]
        [('a red heart', 0.0, 1.33)]
        """
        config = config or MomentsConfig()
        deciders = self._searchers(config, queries, templates)
        about: dict[str, Any] = {"texts": [each.texts.sha256() for each in deciders]}
        about["decision"] = to_dict(deciders[0].config)
        if scores_file:
            about |= self.provenance()  # reads all weights
        return find_moments(
            self._find(video),
            self.reader,
            self.encoder,
            deciders,
            config,
            batch_size=self.data.eval_batch_size,
            scores_file=Path(scores_file) if scores_file else None,
            about=about,
            on_progress=on_progress,
        )

    def live(
        self,
        video: str | Path | LiveVideo,
        config: MomentsConfig | None = None,
        *,
        queries: Sequence[str] = (),
        templates: Sequence[str] = (),
        on_note: Note = warnings.warn,
    ) -> Iterator[Event]:
        """What happens in a stream, as it happens: segments that open and close, without end for an address or camera.

        Windows and scores are those of `moments`. What cannot be scored as fast as it comes is dropped; a stream that
        breaks off is connected again.

        Args:
            video: an address, a camera, or a file that still grows.
            config: windows, and how scores become segments: one opens at `threshold` and closes at `edge` times that.
            queries: see `moments`.
            templates: see `moments`.
            on_note: called with a line on what was dropped, broke off or jumped, also from another thread.

        Raises:
            ValueError: as of `moments`, and for what is no stream; nothing answers (then a `VideoError`).

        >>> for event, segment in Predictor("miniature").live("rtsp://door.local/1"):  # doctest: +SKIP
        ...     print(event, segment.label, segment.start_s, segment.end_s)
        """
        config = config or MomentsConfig()
        deciders = self._searchers(config, queries, templates)
        if isinstance(video, str | Path):
            name = str(video)
            video = LiveVideo(name) if is_live(name) else GrowingVideo(name)
        size = self.data.eval_batch_size
        return live_moments(video, self.reader, self.encoder, deciders, config, batch_size=size, on_note=on_note)

    def _searchers(self, config: MomentsConfig, queries: Sequence[str], templates: Sequence[str]) -> list[Decider]:
        """What decides on windows: for the candidates together, or for each query."""
        queries = in_order(queries, "queries")
        decision = replace(self.decision, reject=config.reject or bool(queries))
        lists = [(name,) for name in check_class_names(queries, "queries")] if queries else []
        with self.encoder.autocast():
            asked = [encode_classes(self.model, names, tuple(templates)) for names in lists]
            if not asked and decision == self.decision:
                return [self.decider]  # many videos share it
            return [Decider(self.model, each, decision) for each in asked or [self.texts]]

    def provenance(self, window_seconds: float = 0.0) -> dict[str, str]:
        """What vectors of `embed` depend on beside the video: vectors of equal provenance may be compared."""
        looks = self.reader.view_config | {"normalization": self.views.normalization, "window_seconds": window_seconds}
        state = fingerprint(self.model.state_dict())
        return {"model": self.name, "fingerprint": state, "views": json.dumps(looks), "computed": str(self.computed)}

    def _encode_many(self, videos: Iterable[Video]) -> Iterator[tuple[VideoPath, Tensor | VideoError, float, str]]:
        """Path, features (1, V, ...) or the error, seconds and note of many videos, which workers read ahead; some go
        through the model together."""
        data, ahead = self.data, deque[VideoPath]()

        def paths() -> Iterator[VideoPath]:
            for path in self._find_all(videos):
                ahead.append(path)
                yield path

        size, workers = data.eval_batch_size, data.workers
        stream = stream_videos(self.reader.load, paths(), workers, 2 * size if workers else 1, data.time_limit_seconds)
        while batch := list(islice(stream, size)):
            broken = [each for each in batch if isinstance(each, VideoError)]
            if broken and data.on_error == "raise":
                raise broken[0]
            views = [each.views for each in batch if not isinstance(each, VideoError)]
            features = iter(self.encoder.encode(torch.stack(views)).split(1) if views else ())
            for each in batch:
                if isinstance(each, VideoError):
                    yield ahead.popleft(), each, 0.0, ""
                else:
                    yield ahead.popleft(), next(features), each.seconds, each.note

    def _find_all(self, videos: Iterable[Video]) -> Iterator[VideoPath]:
        refuse_text(videos, "a list of videos")
        for number, video in enumerate(videos):
            try:
                yield self._find(video, f"video {number}")
            except VideoError:  # of a tar file without this member; its reader says so
                yield Path(str(video))

    def _find(self, video: Video, name: str = "video") -> VideoPath:
        if isinstance(video, str) and is_live(video):
            return LiveVideo(video, self.data.live_seconds)
        return to_video_path(video if isinstance(video, ShardMember) else as_given(video, name))

    def _prediction(self, path: VideoPath, features: Tensor, top_k: int, note: str = "") -> Prediction:
        """The answer for one video, from its features (1, V, ...)."""
        if top_k < 1:
            raise ValueError(f"top_k = {top_k}: must be at least 1")
        scores = self.probabilities(features)
        decider = self.decider
        evidence = decider.evidence(features, self.views.aggregation) if decider.rejects else None
        known = None if evidence is None or evidence.known is None else float(evidence.known)
        decided = decider.decide(scores, evidence)
        if known is not None and len(self.class_names) == 1:  # a question, whose only other answer is no
            scores = torch.full_like(scores, known)
        best = scores[0].topk(min(top_k, scores.shape[1]))
        names = tuple(self.class_names[i] for i in best.indices.tolist())
        members = None if decided.chosen is None else decided.chosen[0].nonzero().flatten().tolist()
        chosen = None if members is None else tuple(self.class_names[i] for i in members)
        rejected = bool(decided.rejected)
        return Prediction(path, names, tuple(best.values.tolist()), scores[0], "", known, rejected, chosen, note)


def embed(
    model: VideoModel | str | Path,
    videos: str | Path | Iterable[Video],
    window_seconds: float = 0.0,
    *,
    views: ViewsConfig | None = None,
    runtime: RuntimeConfig | None = None,
    data: DataConfig | None = None,
) -> Embeddings:
    """The vectors of a folder of videos, or of videos of any kind; see `Predictor` and `Predictor.embed`.

    A video that cannot be read has no vector: a warning names it, as do the `errors` of what is returned; with
    `data.on_error` = "raise" it raises a `VideoError`.

    >>> import vitaclip
    >>> found = vitaclip.embed("miniature", "videos", data=DataConfig(workers=0))
    >>> found.vectors.shape, found.save("vectors.npz").name
    (torch.Size([2, 128]), 'vectors.npz')
    """
    predictor = Predictor(model, views=views, runtime=runtime, data=data)
    given = find_videos([videos]) if isinstance(videos, str | Path) else videos
    found = Embeddings.collect(predictor.embed(given, window_seconds), predictor.provenance(window_seconds))
    for error in found.errors:
        warnings.warn(f"no vector: {error}", stacklevel=2)
    return found
