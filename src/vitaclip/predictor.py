"""Using a model: set the classes once, predict many videos.

Axes: V views, T frames, H x W pixels, K classes, D embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from vitaclip.config import RuntimeConfig, VideoLimits, ViewsConfig
from vitaclip.data import FrameSampling, VideoPath, load_views, to_video_path, view_sampling
from vitaclip.evaluate.scoring import encode_views, fuse_views
from vitaclip.evaluate.wording import Descriptions, TextPlan, Wording, encode_names, plan_text
from vitaclip.model import VitaCLIP
from vitaclip.names import check_class_names
from vitaclip.runtime import autocast, pick_device


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one video, best first; probabilities in [0, 1] over all candidate classes."""

    path: VideoPath
    names: tuple[str, ...]
    probabilities: tuple[float, ...]

    def __str__(self) -> str:
        best = ", ".join(f"{name} {p:.1%}" for name, p in zip(self.names, self.probabilities, strict=True))
        return f"{self.path}: {best}"


class Predictor:
    """A model with a list of classes in mind.

    Example:
        >>> predictor = Predictor(VitaCLIP.from_pretrained("miniature"))
        >>> predictor.set_classes(["red arrow moving left", "red arrow moving right"])
        >>> print(predictor.predict("video.mp4"))
    """

    def __init__(
        self,
        model: VitaCLIP,
        *,
        views: ViewsConfig | None = None,
        runtime: RuntimeConfig | None = None,
        limits: VideoLimits | None = None,
    ) -> None:
        """Take a model into use; the candidates are its own class names, if it has any, until others are set."""
        runtime = runtime or RuntimeConfig()
        device = pick_device(runtime.device)
        self.model = model.to(device).prepare(runtime).eval()
        self.views, self.limits = views or ViewsConfig(), limits or VideoLimits()
        self.class_names = model.class_names
        self.autocast = partial(autocast, runtime, device)
        self._text_features: Tensor | None = None

    @torch.no_grad()
    def set_classes(
        self,
        names: Sequence[str],
        templates: Sequence[str] | None = None,
        descriptions: Descriptions | None = None,
    ) -> TextPlan:
        """Choose the K candidate classes; their text features are computed here, once, as an evaluation does.

        Args:
            names: class names in plain words.
            templates: hand-written texts with one `{}` each instead of the learned context.
            descriptions: sentences about each class, by its name.

        Returns:
            What the text tower was given, which `note` says in words; see `plan_text`.

        Raises:
            ValueError: for an empty list, a name that comes twice, or names that the text tower cannot take.
        """
        names = check_class_names(names, "set_classes")
        wording = Wording(tuple(templates or ()), descriptions or {})
        with self.autocast():
            features = encode_names(self.model, names, wording)
        self.set_text_features(names, features)
        return plan_text(self.model, names, wording)

    def set_text_features(self, names: Sequence[str], features: Tensor) -> None:
        """Choose the K candidate classes with text features (K, D) that were computed elsewhere."""
        self.class_names, self._text_features = tuple(names), features

    @property
    def text_features(self) -> Tensor:
        """(K, D) of the candidates, of unit length; the model's own names, if no others were set.

        Raises:
            ValueError: if the model has no names either.
        """
        if self._text_features is None:
            if not self.model.class_names:
                raise ValueError("no classes are set; call set_classes([...]) first")
            self.set_classes(self.model.class_names)
        assert self._text_features is not None
        return self._text_features

    @property
    def sampling(self) -> FrameSampling:
        """Which frames of a video are looked at."""
        config = self.model.config
        return view_sampling(config.sampling, config.video.num_frames, self.views)

    def load(self, path: str | VideoPath) -> Tensor:
        """The views of a video file, uint8 (V, T, 3, H, W); the crops of the first clip come first."""
        views = self.views
        looked_at = views.temporal, views.spatial, self.model.image_size, views.crop
        aspect = views.pixel_aspect or "display"
        return load_views(path, self.sampling, *looked_at, limits=self.limits, pixel_aspect=aspect)

    def encode(self, video: Tensor) -> Tensor:
        """Embed views, uint8 (V, T, 3, H, W): (V, D) float32 of unit length, on the CPU."""
        return encode_views(self.model, video[None], self.views.pixels, self.autocast)[0]

    def predict(self, path: str | VideoPath, top_k: int = 5) -> Prediction:
        """The `top_k` most probable classes of a video file.

        Raises:
            ValueError: if no classes are set, or if the file is not a readable video (then a `VideoError`).
        """
        if top_k < 1:
            raise ValueError(f"top_k = {top_k}: must be at least 1")
        text = self.text_features
        scores = fuse_views(self.model, self.encode(self.load(path))[None], text, self.views.average)[0]
        best = scores.topk(min(top_k, len(scores)))
        names = tuple(self.class_names[i] for i in best.indices.tolist())
        return Prediction(to_video_path(path), names, tuple(best.values.tolist()))

    def predict_many(self, paths: Sequence[str | VideoPath], top_k: int = 5) -> list[Prediction]:
        """`predict` for each of several files, in order."""
        return [self.predict(path, top_k) for path in paths]
