"""Videos in, probabilities out: each view is embedded once, then the views of a video become one answer.

Axes: B or n videos, S models whose probabilities are mixed (mostly one), V views, T frames, H x W pixels, K classes,
D embedding.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vitaclip.data import EvalBatch
from vitaclip.evaluate.metrics import Scores
from vitaclip.model import VitaCLIP
from vitaclip.processes import Processes
from vitaclip.runtime import Computed

Autocast = Callable[[], AbstractContextManager[object]]
Average = Literal["softmax", "logits", "features"]
Pixels = Literal["clip", "imagenet"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of R, G, B in [0, 1]."""
_VIDEOS_AT_A_TIME = 1024


@dataclass(frozen=True)
class VideoFeatures:
    """The embedded views of n videos; all that is needed of them to score any list of candidates."""

    features: Tensor
    """(n, S, V, D) float32 of unit length, on the CPU."""
    labels: Tensor
    """(n,) class numbers."""
    rows: Tensor
    """(n,) places in the list."""
    left_out: Mapping[int, str]
    """Place in the list and reason of each video that could not be read; these are not among the n."""


def take_pixels(clips: Tensor, pixels: Pixels) -> Tensor:
    """uint8 pixels (..., 3, H, W) as the model takes them: as they are, or float with ImageNet's mean and standard
    deviation taken out."""
    if pixels == "clip":
        return clips
    mean, std = (clips.new_tensor(values, dtype=torch.float32) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (clips / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)


@torch.no_grad()
def encode_views(model: VitaCLIP, video: Tensor, pixels: Pixels = "clip", autocast: Autocast = nullcontext) -> Tensor:
    """Embed every view of some videos.

    Args:
        model: in evaluation mode.
        video: (B, V, T, 3, H, W) uint8.
        pixels: which mean and standard deviation are taken out.
        autocast: context of the forward pass.

    Returns:
        (B, V, D) float32 of unit length, on the CPU.
    """
    clips = take_pixels(video.flatten(end_dim=1).to(model.device), pixels)
    with autocast():
        features = model.encode_video(clips)
    return features.unflatten(0, video.shape[:2]).float().cpu()


@torch.no_grad()
def fuse_views(model: VitaCLIP, features: Tensor, text_features: Tensor, average: Average = "softmax") -> Tensor:
    """Probabilities of some videos from all of their views; the mean of the softmax is the published way.

    Args:
        model: holds the temperature of the softmax.
        features: (B, V, D) of unit length.
        text_features: (K, D) of unit length.
        average: what is averaged over the views.

    Returns:
        (B, K) float32 on the CPU.

    Raises:
        ValueError: a probability is NaN or infinite, which no accuracy may be computed from.
    """
    features = features.to(text_features)
    if average == "features":
        mean = F.normalize(features.mean(dim=1), dim=-1)
        probabilities = model.compare(mean, text_features).softmax(dim=-1)
    else:
        logits = model.compare(features, text_features)
        probabilities = (
            logits.mean(dim=1).softmax(dim=-1) if average == "logits" else logits.softmax(dim=-1).mean(dim=1)
        )
    probabilities = probabilities.cpu()
    if not probabilities.isfinite().all():
        raise ValueError(
            "the model's scores are not finite numbers: its weights may be damaged (fetch them again), or too large for"
            " bfloat16 (set runtime.precision = float32)"
        )
    return probabilities


def encode_videos(
    models: Sequence[VitaCLIP],
    batches: Iterable[EvalBatch],
    pixels: Pixels = "clip",
    autocast: Autocast = nullcontext,
    on_progress: Callable[[int], None] = lambda _: None,
) -> VideoFeatures:
    """Embed each video of the batches once with each of S models.

    Args:
        models: any mode; they are in evaluation mode afterwards.
        batches: from `vitaclip.data.eval_batches`.
        pixels: see `encode_views`.
        autocast: context of the forward pass.
        on_progress: called with the number of videos just done.
    """
    for model in models:
        model.eval()
    done: list[VideoFeatures] = []
    for batch in batches:
        done.append(encode_batch(models, batch, pixels, autocast))
        on_progress(len(batch.labels) + len(batch.skipped))
    return join(done)


def encode_batch(
    models: Sequence[VitaCLIP], batch: EvalBatch, pixels: Pixels = "clip", autocast: Autocast = nullcontext
) -> VideoFeatures:
    """Embed the videos of one batch with each of S models; see `encode_views`."""
    if len(batch.labels):
        features = torch.stack([encode_views(model, batch.video, pixels, autocast) for model in models], dim=1)
    else:
        features = torch.empty(0, len(models), 0, 0)
    left_out = dict(zip(batch.left_out, batch.skipped, strict=True))
    return VideoFeatures(features, batch.labels, torch.tensor(batch.rows, dtype=torch.int64), left_out)


def join(parts: Sequence[VideoFeatures]) -> VideoFeatures:
    """The videos of several parts as one, in their order."""
    # A part in which no video could be read does not know how many views there are.
    filled = [part for part in parts if len(part.rows)]
    return VideoFeatures(
        features=torch.cat([part.features for part in filled or parts[:1]] or [torch.empty(0, 1, 0, 0)]),
        labels=torch.cat([torch.empty(0, dtype=torch.int64), *(part.labels for part in filled)]),
        rows=torch.cat([torch.empty(0, dtype=torch.int64), *(part.rows for part in filled)]),
        left_out={row: reason for part in parts for row, reason in part.left_out.items()},
    )


def score_videos(
    models: Sequence[VitaCLIP],
    videos: VideoFeatures,
    text_features: Tensor,
    average: Average = "softmax",
    weights: Sequence[float] = (1.0,),
    computed: Computed | None = None,
) -> Scores:
    """Compare embedded videos with the candidates: from all views, and what the first 1, 2 .. V of them say.

    Args:
        models: S of them.
        videos: embedded by each.
        text_features: (S, K, D), the candidates likewise.
        average: how the views become one answer.
        weights: of the models' probabilities in the mean of them; their sum is 1.
        computed: device and precision, to be noted with the scores.
    """
    num_views = videos.features.shape[2]
    probabilities = [torch.empty(0, text_features.shape[1])]
    choices = [torch.empty(0, num_views, dtype=torch.int64)]

    def fuse(part: Tensor, views: int) -> Tensor:
        """Probabilities (b, K) of some videos (b, S, V, D)."""
        sides = zip(models, weights, part.unbind(dim=1), text_features, strict=True)
        parts = [weight * fuse_views(model, seen[:, :views], text, average) for model, weight, seen, text in sides]
        return torch.stack(parts).sum(dim=0)

    for part in videos.features.split(_VIDEOS_AT_A_TIME) if len(videos.features) else ():
        fused = [fuse(part, views) for views in range(1, 1 + num_views)]
        probabilities.append(fused[-1])
        choices.append(torch.stack([each.argmax(dim=1) for each in fused], dim=1))
    return Scores(
        probabilities=torch.cat(probabilities),
        labels=videos.labels,
        rows=videos.rows,
        left_out=videos.left_out,
        view_choices=torch.cat(choices),
        computed=computed or Computed(),
    )


def gather_features(own: VideoFeatures, processes: Processes) -> VideoFeatures:
    """The videos of all processes as one. Their shares follow each other, so the videos keep the order of the list."""
    return own if processes.count == 1 else join(processes.gather(own))
