"""What a run is made from: its lists, its model, and its training samples; and what the model sees of a step's batch:
each rank takes its clips, mixes them in pairs if asked, and splits them into micro-batches with their dropout masks.

MixUp (Zhang et al., 2018) and CutMix (Yun et al., 2019) mix each clip with its neighbour in the batch, whose order is
random already; all clips and frames of a step share one draw. CutMix copies bytes. MixUp blends after normalisation, on
the device, so that nothing is rounded. Label smoothing is the loss's (`losses.py`).

Axes: b clips of a micro-batch, T frames, S x S pixels, M labels of a video, K classes, D embedding.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitaclip.backbones.loading import load_backbone
from vitaclip.data.config import AugmentConfig, DataConfig
from vitaclip.data.labels import multi_hot
from vitaclip.data.lists.sources import as_fraction, draw_shots, read_videos, split_validation
from vitaclip.data.lists.video_list import VideoList
from vitaclip.data.loading.clips import EvalViews, TrainClips, read_options
from vitaclip.data.loading.loader import EvalDataset, TrainBatch, TrainDataset
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.sampling import Stream, frame_sampling, generator
from vitaclip.data.transforms import TrainTransform
from vitaclip.distributed import DistEnv
from vitaclip.evaluation.feature_cache import KeptVideos, keep_features
from vitaclip.evaluation.scoring import ViewEncoder
from vitaclip.model import VideoModel
from vitaclip.runtime import pick_device, send
from vitaclip.strings import counted
from vitaclip.training.config import TrainConfig
from vitaclip.training.losses import find_loss


def read_lists(config: TrainConfig) -> tuple[VideoList, VideoList | None]:
    """The videos to train on, and those of `data.val`, whose labels are indices into the same classes; None without.

    Where `data.val` is a fraction, both come from `data.train`. `data.shots` draws from what is left to train on.
    """
    data, fraction, val = config.data, as_fraction(config.data.val), None
    videos = _read_source(data.train, "data.train", data, classes=data.classes)
    several = next((row for row in videos.samples if len(row.labels) > 1), None)
    if several and not find_loss(config.optim).takes_several:
        raise ValueError(f"{several.source}: {several.path} has several labels; set optim.loss = bce, or give it one")
    if fraction:
        own, held_out = split_validation(videos.samples, fraction, config.seed)
        if not held_out:
            raise ValueError(f"data.val = {data.val}: no class can spare a video; give validation videos of their own")
        videos, val = replace(videos, samples=own), replace(videos, samples=held_out)
    elif data.val:
        val = _read_source(str(data.val), "data.val", data, class_names=videos.class_names)
    if data.shots:
        videos = replace(videos, samples=draw_shots(videos.samples, videos.class_names, data.shots, config.seed))
    return videos, val


def _read_source(source: str, setting: str, data: DataConfig, **classes: Any) -> VideoList:
    """The videos of a setting. Of a folder, empty files and links to nothing are left out, unless `data.on_error` is
    "raise"; a list that names such files is refused, since it is the list that has to be mended."""
    is_lenient = data.on_error == "skip" and Path(source).is_dir()
    videos = read_videos(source, setting, root=data.root, keep_absent=is_lenient, **classes)
    return videos.without_absent() if is_lenient else videos


def shared_videos(videos: VideoList, val_videos: VideoList | None) -> list[str]:
    """A warning if videos are both trained and validated on, whatever the names that the lists have for them."""
    if not val_videos:
        return []
    trained = {_identity(sample.path) for sample in videos.samples}
    both = [sample for sample in val_videos.samples if _identity(sample.path) in trained]
    all_of_them = counted(len(val_videos.samples), "validation video")
    return [
        f"{len(both)} of the {all_of_them} are trained on too, such as {first.path}; what is measured on them says"
        " nothing of other videos"
        for first in both[:1]
    ]


def _identity(path: VideoPath) -> object:
    """What tells a file apart from others. A device and its inode are read in a fifth of the time that following links
    takes, which counts for 100,000 videos."""
    if not isinstance(path, Path):
        return path.resolve()
    status = path.stat()
    return status.st_dev, status.st_ino


def build_model(config: TrainConfig, class_names: tuple[str, ...], dist: DistEnv) -> VideoModel:
    """The model of a run at its start, on this rank's device."""
    device = pick_device(config.runtime.device, dist.local_rank, dist.world_size)
    backbone = load_backbone(config.model.backbone, image_size=config.model.image_size)
    model = VideoModel(backbone, config.model, class_names, config.seed)
    if config.init:
        model.start_from(config.init)
    return model.to(device).prepare(config.runtime)


def build_dataset(
    config: TrainConfig, model: VideoModel, videos: VideoList, dist: DistEnv, on_progress: Callable[[int], None]
) -> TrainDataset:
    """The training samples of a run: clips, decoded and augmented anew each time, or features from the cache.

    Each rank makes its part of the features that the cache lacks; all ranks get all of them, because each epoch has the
    videos in another order. `on_progress` is called with the number of this rank's videos that were just done.
    """
    data, seed, size, fit = config.data, config.seed, model.image_size, model.frame_fit
    sampling = frame_sampling(config.model.sampling, config.model.num_frames)
    clips = TrainClips(sampling, TrainTransform(size, data.augment, fit), read_options(data))
    if not data.feature_cache:
        return TrainDataset(videos.samples, clips, seed, data.on_error, data.balance_classes)
    views = EvalViews(sampling, 1, 1, size, fit=fit, options=clips.options)
    cached = EvalDataset(videos.samples, views, data.on_error)
    share = dist.rank_range(len(videos.samples))
    with dist.shared_errors():
        own = keep_features(ViewEncoder(model.eval(), runtime=config.runtime), cached, data, share, on_progress)
    features = FeatureClips(videos, dist.gather(own))
    # The error of a broken video begins with its place in the list already; `source` would add it once more.
    rows = [replace(row, source=str(row.path)) for row in videos.samples]
    return TrainDataset(rows, features, seed, data.on_error, data.balance_classes)


class FeatureClips:
    """Stands for `TrainClips`: what is kept of a video's one view, whatever the generator would draw."""

    def __init__(self, videos: VideoList, parts: Sequence[KeptVideos]) -> None:
        """`parts`: those of all ranks."""
        paths = [row.path for row in videos.samples]
        self._kept = {paths[i]: kept for part in parts for i, kept in part.kept.items()}
        self._broken = {paths[i]: reason for part in parts for i, reason in part.skipped.items()}

    def read(self, path: VideoPath, rng: np.random.Generator) -> Tensor:
        """The features (T, ...) of the view; VideoError if the video is broken."""
        if path in self._broken:
            raise VideoError(self._broken[path])
        return self._kept[path].read()[0]


def rank_slice(batch_size: int, rank: int, world_size: int) -> range:
    """The positions of a step's clips that a rank takes. Clips that are mixed with each other are never separated."""
    pairs = batch_size // 2
    if world_size > max(1, pairs):
        raise ValueError(
            f"optim.batch_size = {batch_size}: {world_size} processes need at least {2 * world_size}, a pair each"
        )
    stop = batch_size if rank == world_size - 1 else 2 * (pairs * (rank + 1) // world_size)
    return range(2 * (pairs * rank // world_size), stop)


class StepMasks:
    """Draws the dropout masks of some clips of one step; each call draws further ones. They depend only on the run's
    seed, the step and the clip's position in the step's batch over all ranks, so that a resumed run continues exactly
    and any number of ranks draws the same masks.
    """

    def __init__(self, seed: int, step: int, positions: Sequence[int]) -> None:
        self._numbers = [(seed, Stream.DROPOUT, step, position) for position in positions]
        self._drawing: list[np.random.Generator] = []

    def __call__(self, count: int, rate: float) -> Tensor:
        """Factors (b, count): 0 with probability `rate`, else 1 / (1 - rate)."""
        self._drawing = self._drawing or [generator(*numbers) for numbers in self._numbers]
        kept = np.stack([drawing.random(count) >= rate for drawing in self._drawing])
        return torch.from_numpy(kept).float() / (1 - rate)


@dataclass(frozen=True)
class Mix:
    """How each clip of one step is mixed with its neighbour."""

    lam: float
    """Weight of the clip itself, 0 to 1, in pixels and in targets."""
    box: tuple[int, int, int, int] | None
    """CutMix: top, left, bottom, right of the box that the neighbour covers, in pixels. None: MixUp."""

    def pixels(self, video: Tensor, neighbour: Tensor, normalize: Callable[[Tensor], Tensor]) -> Tensor:
        """Mix two batches of uint8 clips (b, T, 3, S, S): CutMix gives uint8, MixUp normalised floats."""
        if self.box is None:
            return self.lam * normalize(video) + (1 - self.lam) * normalize(neighbour)
        top, left, bottom, right = self.box
        mixed = video.clone()
        mixed[..., top:bottom, left:right] = neighbour[..., top:bottom, left:right]
        return mixed

    def targets(self, labels: Tensor, neighbour: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
        """Mix two batches of labels, (b,) or (b, M): the weight of each class, (b, K)."""
        own, other = (multi_hot(numbers, num_classes).to(dtype) for numbers in (labels, neighbour))
        return self.lam * own + (1 - self.lam) * other


def draw_mix(config: AugmentConfig, size: int, seed: int, step: int) -> Mix | None:
    """Draw the mix of a step, which depends on the seed and the step alone; None if both kinds are off.

    If both are on, each step takes one of them, with equal probability. CutMix boxes have the frame's shape and a
    random centre. A part of a box may lie outside the frame, so `lam` is the area that it really leaves.
    """
    if not config.mixup and not config.cutmix:
        return None
    rng = generator(seed, Stream.MIX, step)
    cut = rng.random() < (0.5 if config.mixup else 1.0) if config.cutmix else False
    alpha = config.cutmix if cut else config.mixup
    lam = float(rng.beta(alpha, alpha))
    if not cut:
        return Mix(lam, None)
    side = size * math.sqrt(1 - lam)
    edges = [(centre - side / 2, centre + side / 2) for centre in rng.uniform(0, size, 2)]
    (top, bottom), (left, right) = ((max(0, round(low)), min(size, round(high))) for low, high in edges)
    return Mix(1 - (bottom - top) * (right - left) / size**2, (top, left, bottom, right))


def neighbours(clips: int) -> Tensor:
    """For each of `clips` positions the one it is mixed with: 1, 0, 3, 2, ...; an odd last one takes that before it."""
    positions = torch.arange(clips) ^ 1
    return positions.where(positions < clips, max(0, clips - 2))


def micro_batches(
    batch: TrainBatch, model: VideoModel, config: TrainConfig, rank_slice: range
) -> Iterator[tuple[Tensor, Tensor, Tensor, StepMasks]]:
    """Split a batch into parts on the model's device: clips (b, T, 3, S, S), labels, targets, dropout masks.

    Clips are uint8, or normalised floats if they were blended, or features (b, D). Targets are the labels, or the
    weight of each class (b, K) for clips that are mixed with their neighbours.
    """
    num_classes = len(model.class_names)
    mix = draw_mix(config.data.augment, model.image_size, config.seed, batch.step)
    others = neighbours(len(batch.labels))
    size = config.optim.micro_batch_size or len(batch.labels)
    for start in range(0, len(batch.labels), size):
        part = slice(start, start + size)
        video, labels = (send(each[part], model.device) for each in (batch.video, batch.labels))
        targets = labels
        if mix is not None:
            other_video, other_labels = (send(each[others[part]], model.device) for each in (batch.video, batch.labels))
            targets = mix.targets(labels, other_labels, num_classes, model.dtype)
            video = mix.pixels(video, other_video, model.backbone.normalize_pixels)
        yield video, labels, targets, StepMasks(config.seed, batch.step, rank_slice[part])
