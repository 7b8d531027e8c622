"""What a run is made from: its lists, its model, and its training samples.

Axes: T frames of a clip.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vitaclip.backbones.loading import load_backbone
from vitaclip.data.config import DataConfig
from vitaclip.data.lists.selection import as_fraction, draw_shots, split_validation
from vitaclip.data.lists.sources import read_videos
from vitaclip.data.lists.video_list import VideoList
from vitaclip.data.loading.clips import EvalViews, TrainClips, read_options
from vitaclip.data.loading.dataset import EvalDataset, TrainDataset
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.sampling import frame_sampling
from vitaclip.data.transforms.train import TrainTransform
from vitaclip.distributed import DistEnv
from vitaclip.evaluation.feature_cache import KeptVideos, keep_features
from vitaclip.evaluation.scoring import ViewEncoder
from vitaclip.model import VideoModel
from vitaclip.runtime import pick_device
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
        seed = config.seed if data.shots_seed is None else data.shots_seed
        videos = replace(videos, samples=draw_shots(videos.samples, videos.class_names, data.shots, seed))
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
