"""Using a model: set the classes once, predict many videos.

Axes: n videos, V views, T frames, H x W pixels, K classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor

from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.clips import EvalViews, eval_views, read_options
from vitaclip.data.loading.dataset import EvalDataset
from vitaclip.data.loading.loader import eval_batches
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.reading.tar import to_video_path
from vitaclip.evaluate.class_texts import ClassPrompts, ClassTexts, Descriptions, encode_classes
from vitaclip.evaluate.scoring import encode_views, fuse_views
from vitaclip.model import VideoModel
from vitaclip.names import check_class_names
from vitaclip.runtime import RuntimeConfig, autocast, describe_computed, pick_device


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one video, best first; probabilities in [0, 1] over all candidate classes."""

    path: VideoPath
    names: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    scores: Tensor | None = field(default=None, repr=False, compare=False)
    """(K,) probabilities of all candidates."""
    error: str = ""
    """Why the video could not be read; there are no names then."""

    def __str__(self) -> str:
        if self.error:
            return self.error
        best = ", ".join(f"{name} {p:.1%}" for name, p in zip(self.names, self.probabilities, strict=True))
        return f"{self.path}: {best}"


class Predictor:
    """A model with a list of classes in mind.

    Example:
        >>> predictor = Predictor(VideoModel.from_pretrained("miniature"))
        >>> texts = predictor.set_classes(["red heart moving left", "red heart moving right"])
        >>> print(predictor.predict("video.mp4"))
        video.mp4: red heart moving left 99...%, red heart moving right 0...%
    """

    def __init__(
        self,
        model: VideoModel,
        *,
        views: ViewsConfig | None = None,
        runtime: RuntimeConfig | None = None,
        data: DataConfig | None = None,
    ) -> None:
        """Take a model into use; the candidates are its own class names, if it has any, until others are set.

        Args:
            model: whatever it was trained for.
            views: which clips and crops of a video are looked at.
            runtime: device and precision.
            data: how videos are read: limits, time limit, workers, batch size.
        """
        runtime = runtime or RuntimeConfig()
        device = pick_device(runtime.device)
        self.model = model.to(device).prepare(runtime).eval()
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

        >>> Predictor(VideoModel.from_pretrained("miniature")).set_classes(["a key growing", "a key shrinking"]).note
        'the learned context, shared by all names'
        """
        names = check_class_names(names, "set_classes")
        prompts = ClassPrompts(tuple(templates or ()), descriptions or {})
        with self.autocast():
            self._texts = encode_classes(self.model, names, prompts)
        return self._texts

    def set_texts(self, texts: ClassTexts) -> None:
        """Choose the candidate classes as they were made elsewhere."""
        self._texts = texts

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
        return eval_views(config.sampling, config.num_frames, self.model.image_size, self.views, options)

    def load(self, path: str | VideoPath) -> Tensor:
        """The views of a video file, uint8 (V, T, 3, H, W); the crops of the first clip come first."""
        return self.reader.read(to_video_path(path))

    def encode(self, video: Tensor) -> Tensor:
        """Embed views, uint8 (V, T, 3, H, W): (V, ...) float32 on the CPU, one of unit length for most models."""
        return encode_views(self.model, video[None], self.views.normalization, self.autocast)[0]

    def predict(self, path: str | VideoPath, top_k: int = 5) -> Prediction:
        """The `top_k` most probable classes of a video file, which is read in this process and without a time limit.

        Raises:
            ValueError: if no classes are set, or if the file is not a readable video (then a `VideoError`).

        >>> Predictor(VideoModel.from_pretrained("miniature")).predict("video.mp4", top_k=1).names
        ('red heart moving left',)
        """
        _ = self.texts  # first: without candidates no video is opened
        video = to_video_path(path)
        scores = self.probabilities(self.encode(self.reader.read(video))[None])[0]
        return self._prediction(video, scores, top_k)

    def predict_many(self, paths: Iterable[str | VideoPath], top_k: int = 5) -> Iterator[Prediction]:
        """`predict` for each of several files, in order; one that cannot be read gives a prediction with an error.

        They are read ahead by worker processes, which are killed when a video takes longer than the time limit. A
        script needs `if __name__ == "__main__":` around its calls, unless `data.workers` is 0.

        >>> predictor = Predictor(VideoModel.from_pretrained("miniature"), data=DataConfig(workers=0))
        >>> [found.error or found.names[0] for found in predictor.predict_many(["video.mp4", "missing.mp4"])]
        ['red heart moving left', 'missing.mp4 does not exist: check the path']
        """
        _, data = self.texts, self.data  # first: without candidates no video is opened
        videos = [VideoSample(path, (0,), str(path)) for path in map(to_video_path, paths)]
        dataset, limit = EvalDataset(videos, self.reader, "skip"), data.time_limit_seconds
        for batch in eval_batches(dataset, data.eval_batch_size, data.workers, time_limit_seconds=limit):
            found = {row: Prediction(videos[row].path, error=error) for row, error in batch.skipped.items()}
            if batch.indices:
                features = encode_views(self.model, batch.video, self.views.normalization, self.autocast)
                for row, scores in zip(batch.indices, self.probabilities(features), strict=True):
                    found[row] = self._prediction(videos[row].path, scores, top_k)
            yield from (found[row] for row in sorted(found))

    def _prediction(self, path: VideoPath, scores: Tensor, top_k: int) -> Prediction:
        if top_k < 1:
            raise ValueError(f"top_k = {top_k}: must be at least 1")
        best = scores.topk(min(top_k, len(scores)))
        names = tuple(self.class_names[i] for i in best.indices.tolist())
        return Prediction(path, names, tuple(best.values.tolist()), scores)
