"""Videos in, probabilities out: each view is embedded once, then the views of a video become one answer.

What a model keeps of a video is its own matter: any tensor (n, V, ...) that begins with videos and views. Some models
give features that can be compared with any classes later. Of others only the logits of classes known beforehand can be
kept; these then stand in place of the features.

Axes: B or n videos, V views, T frames, H x W pixels, K classes.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from vitaclip.backbones.pixels import IMAGENET_PIXELS
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.loading.clips import EvalViews, read_options
from vitaclip.data.sampling import FrameSampling
from vitaclip.evaluation.class_texts import ClassTexts
from vitaclip.model import VideoModel
from vitaclip.runtime import RuntimeConfig, autocast, send

Aggregation = Literal["softmax", "logits", "features"]
Normalization = Literal["backbone", "imagenet"]


@dataclass(frozen=True)
class VideoFeatures:
    """The embedded views of n videos: all that is needed of them to score any list of candidates."""

    features: Tensor
    """(n, V, ...) float32, on the CPU."""
    labels: Tensor
    """(n,) class indices; (n, M) where videos of the list have several, see `label_tensor`."""
    indices: Tensor
    """(n,) which videos of the list they are."""
    skipped: Mapping[int, str]
    """Index and reason of each video that could not be read; these are not among the n."""
    notes: tuple[str, ...] = ()
    """Of which of the n some frames could not be decoded, a line each."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """What the V views are, and how they become one answer."""
    candidates: tuple[ClassTexts, ...] = ()
    """The candidates that were known when the videos were embedded."""


_NOTHING = VideoFeatures(torch.empty(0, 0, 0), torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), {})


def join(parts: Sequence[VideoFeatures]) -> VideoFeatures:
    """The videos of several parts as one, in their order."""
    # A part in which no video could be read does not know how many views there are.
    filled = [part for part in parts if len(part.indices)] or [_NOTHING]
    return VideoFeatures(
        features=torch.cat([part.features for part in filled]),
        labels=torch.cat([part.labels for part in filled]),
        indices=torch.cat([part.indices for part in filled]),
        skipped={index: reason for part in parts for index, reason in part.skipped.items()},
        notes=tuple(note for part in parts for note in part.notes),
    )


def views_reader(model: VideoModel, data: DataConfig, views: ViewsConfig) -> EvalViews:
    """Reads the views of a video as the model takes them: frames are chosen as in its training, unless the views ask
    for another way. It holds no model, so that other processes can have it."""
    usual, num_frames = model.config.sampling, views.frames or model.config.num_frames
    sampling = FrameSampling(views.sampling or usual.kind, num_frames, views.stride or usual.stride)
    size, fit, options = model.image_size, model.frame_fit, read_options(data, views)
    return EvalViews(sampling, views.temporal, views.spatial, size, views.crop, fit, options)


def normalize_for_views(clips: Tensor, normalization: Normalization) -> Tensor:
    """uint8 pixels (..., 3, H, W) as the model takes them: as they are, because it takes out its backbone's mean and
    standard deviation itself, or float with those of ImageNet taken out."""
    if normalization == "backbone":
        return clips
    both = IMAGENET_PIXELS.mean, IMAGENET_PIXELS.std
    mean, std = (clips.new_tensor(each, dtype=torch.float32).view(3, 1, 1) for each in both)
    return (clips / 255 - mean) / std


@dataclass(frozen=True)
class ViewEncoder:
    """Embeds the views of videos with a model in evaluation mode."""

    model: VideoModel
    normalization: Normalization = "backbone"
    """Whose mean and standard deviation are taken out of the pixels."""
    runtime: RuntimeConfig = field(default_factory=partial(RuntimeConfig, precision="float32"))
    """Precision of the forward pass."""

    def autocast(self) -> AbstractContextManager[object]:
        """The context of the forward pass."""
        return autocast(self.runtime, self.model.device)

    def encode(self, video: Tensor, classes: Tensor | None = None) -> Tensor:
        """Embed every view of some videos (B, V, T, 3, H, W); see the two steps below."""
        return self.encode_features(self.tower_features(video), classes)

    @torch.no_grad()
    def tower_features(self, video: Tensor) -> Tensor:
        """What the model's pool reads of every view, (B, V, T, ...) on the model's device, of (B, V, T, 3, H, W) in
        uint8."""
        clips = normalize_for_views(send(video.flatten(end_dim=1), self.model.device), self.normalization)
        with self.autocast():
            return self.model.tower_features(clips).unflatten(0, video.shape[:2])

    @torch.no_grad()
    def encode_features(self, features: Tensor, classes: Tensor | None = None) -> Tensor:
        """Embed views from what `tower_features` gives, or a cache kept of it: (B, V, ...) in float32 on the CPU. With
        class features (K, ...) they are compared at once, and the logits (B, V, K) stand in place of the features."""
        with self.autocast():
            encoded = self.model.encode_features(features.flatten(end_dim=1).to(self.model.device, self.model.dtype))
            if classes is not None:
                encoded = self.model.logits(encoded, classes)
        return encoded.unflatten(0, features.shape[:2]).float().cpu()


@torch.no_grad()
def fuse_views(
    model: VideoModel, features: Tensor, class_features: Tensor, aggregation: Aggregation = "softmax"
) -> Tensor:
    """Probabilities of some videos from all of their views; the mean of the softmax is the published way.

    Args:
        model: compares.
        features: (B, V, ...).
        class_features: (K, ...).
        aggregation: what is averaged over the views.

    Returns:
        (B, K) float32 on the CPU.

    Raises:
        ValueError: see `check_aggregation`; or a probability is NaN or infinite, so that no accuracy may be computed.
    """
    features = features.to(class_features)
    if aggregation == "features":
        check_aggregation(model, aggregation)
        return _finite(model.head.probabilities(model.logits(model.head.mean(features), class_features)))
    flat = model.logits(features.flatten(end_dim=1), class_features)
    return fuse_logits(model, flat.unflatten(0, features.shape[:2]), aggregation)


def fuse_logits(model: VideoModel, logits: Tensor, aggregation: Aggregation) -> Tensor:
    """Probabilities (B, K) on the CPU from the logits (B, V, K) of all views; see `fuse_views`."""
    if aggregation == "logits":
        return _finite(model.head.probabilities(logits.mean(dim=1)))
    return _finite(model.head.probabilities(logits).mean(dim=1))


def check_aggregation(model: VideoModel, aggregation: Aggregation) -> None:
    """Raise ValueError for the mean of features of a model of which only logits can be kept."""
    if aggregation == "features" and not model.head.comparable:
        raise ValueError(
            "views.aggregation = features: this model reads each name in the light of the video, so that its features"
            " have no mean; take softmax or logits"
        )


def _finite(probabilities: Tensor) -> Tensor:
    """The probabilities on the CPU, none of them NaN or infinite."""
    probabilities = probabilities.cpu()
    if not probabilities.isfinite().all():
        raise ValueError(
            "the model's scores are not finite numbers: its weights may be damaged (fetch them again), or too large for"
            " bfloat16 (set runtime.precision = float32)"
        )
    return probabilities
