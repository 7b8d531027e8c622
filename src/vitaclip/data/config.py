"""Settings of how videos are read: lists, frames, limits, augmentation, workers."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from vitaclip.settings import (
    MAX_TOKENS,
    Config,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    bounds,
    require,
)

PixelAspect = Literal["display", "stored"]
HueTurn = Annotated[float, bounds(ge=0, le=0.5)]
MAX_STRIDE = 1_000_000
"""Native frames between two of a clip, at most; ten hours."""
MAX_VIEW_FRAMES = 10_000
"""Frames of all views of a video together, at most: 1.5 GB at 224 pixels."""


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Config):
    """Which frames of a video the model sees."""

    kind: Literal["dense", "segments"] = "dense"
    """dense: T frames, `stride` apart, from some place of the video. segments: one frame from each of T equal
    parts of the whole video (TSN)."""
    stride: Annotated[int, bounds(ge=1, le=MAX_STRIDE)] = 16
    """Native frames from one chosen frame to the next; read by `dense` only."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(Config):
    """What a training clip goes through; one draw for all frames of the clip."""

    crop: Literal["resized", "multiscale"] = "resized"
    """resized: a box of random area and shape. multiscale: one of TSN's boxes, in a corner or the middle of the frame,
    with sides of 1, 0.875, 0.75 or 0.66 of the shorter side (X-CLIP, ViFi-CLIP)."""
    crop_scale: tuple[PositiveFloat, Annotated[float, bounds(le=1)]] = (0.08, 1.0)
    """Least and most area of a resized crop, as a fraction of the frame."""
    crop_ratio: tuple[PositiveFloat, PositiveFloat] = (3 / 4, 4 / 3)
    """Least and most width over height of a resized crop."""
    flip: Probability = 0.0
    """Chance of a left-right mirror. 0 as published; leave it there where left and right are classes."""
    color_jitter: Probability = 0.0
    """Chance that brightness, contrast, saturation and hue change, by `color_strengths`."""
    color_strengths: tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat, HueTurn] = (0.4, 0.4, 0.2, 0.1)
    """How much of each: factors from 1 - strength to 1 + strength, and of hue turns of the colour circle."""
    grey: Probability = 0.0
    """Chance that a clip loses its colours."""
    randaugment: str = ""
    """RandAugment as timm writes it, e.g. `rand-m7-n4-mstd0.5-inc1`. Empty: none."""
    mixup: NonNegativeFloat = 0.0
    """MixUp: the clips of a step are blended in pairs, labels too; the share is drawn from Beta(mixup, mixup). 0: off.
    With `cutmix` on too, each step takes one or the other."""
    cutmix: NonNegativeFloat = 0.0
    """CutMix: a box of each clip, the same in all frames, comes from another; its area from Beta(cutmix, cutmix)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("crop_scale", "crop_ratio"):
            least, most = getattr(self, name)
            require(least <= most, self, name, "give two numbers, smaller first")


@dataclass(frozen=True, kw_only=True)
class VideoLimits(Config):
    """What a video may be at most. One beyond that cannot be read; no memory is spent on it."""

    frames: PositiveInt = 2_592_000
    """Frames that are there, or that the tables of an mp4 file list; for a folder, pictures. The default is a day at 30
    a second."""
    pixels: PositiveInt = 35_651_584
    """Width times height of a frame, as stored and as displayed. The default is 8192 x 4352, the most at level 6 of
    H.264, HEVC and AV1."""
    hours: PositiveFloat = 24.0
    """Length: the number of frames times the usual time between two. What the file states as its length does not
    count."""


@dataclass(frozen=True, kw_only=True)
class DataConfig(Config):
    """Videos and labels."""

    train: str = ""
    """Training videos: a list file (`path,label` or `path label` a line), a folder with one folder per class, or tar
    files: a folder of them, or a pattern such as `shards/train-*.tar`."""
    val: str | float = ""
    """Validation videos, likewise. A number such as 0.2: that fraction of each class in `train`, written to
    val_list.csv in the run folder; clips cut from one film stay together where their names tell. Empty: train without
    validation."""
    root: str = ""
    """Folder that paths in lists are relative to; of a protocol, the folder of its lists. Empty: that of the list."""
    classes: str = ""
    """A file with a class name a line (line n, from 0, is label n); if there is no such file, a data set that
    `vitaclip list classes` shows; else names with commas between. Empty: in training the names of folders or in
    the list of `train`, else those of the model."""
    shots: NonNegativeInt = 0
    """Videos of each class to train on, drawn from `train`; the draw is written to train_list.csv in the run folder.
    0: all there are."""
    balance_classes: bool = False
    """Show every class equally often: an epoch repeats videos of small classes and leaves out some of large ones."""
    workers: NonNegativeInt = 2
    """Processes that read videos. 0: read in the main process."""
    eval_batch_size: PositiveInt = 8
    """Videos that go through the model at a time in evaluation."""
    on_error: Literal["raise", "skip"] = "skip"
    """A video that cannot be read: stop, or go on with another in training (counted in the log, listed in
    bad_videos.txt) and without it in evaluation (counted in the result)."""
    time_limit_seconds: NonNegativeFloat = 120.0
    """A video that takes longer cannot be read; the process that reads it is killed and replaced, also when the codec
    hangs. With `workers` 0 nothing can interrupt a codec, and the limit does not hold. 0: none."""
    live_seconds: PositiveFloat = 10.0
    """How long a stream or a camera is recorded; the default holds two clips of 8 frames, 16 apart, at 25 a second."""
    limits: VideoLimits = field(default_factory=VideoLimits)
    """What a video may be at most."""
    pixel_aspect: PixelAspect = "display"
    """Pixels that are not square, as many copies of Kinetics state: display makes them so, as a player does; stored
    takes the picture as it is stored, as all published code does."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Training-time changes of a clip."""
    feature_cache: str = ""
    """Folder that keeps what the image tower makes of videos, for models without context in it: each video, trained on
    or validated on, is then decoded and embedded once for all runs, which may share the folder. One to train on is seen
    as in a test (the middle of the video, the centre of the frames), whatever `augment` says. Empty: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        mixed = self.augment.mixup or self.augment.cutmix
        remedy = "mixup and cutmix mix pixels, which features no longer have; set both to 0, or leave it empty"
        require(not self.feature_cache or not mixed, self, "feature_cache", remedy)


@dataclass(frozen=True, kw_only=True)
class ViewsConfig(Config):
    """How a video is looked at in evaluation, and how its views become one answer."""

    temporal: Annotated[int, bounds(ge=1, le=MAX_VIEW_FRAMES)] = 3
    """Clips spread over the video."""
    spatial: Annotated[int, bounds(ge=1, le=MAX_VIEW_FRAMES)] = 1
    """Crops along the long side of the frame. 1: the centre."""
    frames: Annotated[int, bounds(ge=0, le=MAX_TOKENS)] = 0
    """Frames of each clip. 0: as many as the model was trained on; with another number its time and local prompts are
    interpolated."""
    sampling: Literal["", "dense", "segments"] = ""
    """Which frames: see `SamplingConfig.kind`. Empty: as the model was trained."""
    stride: Annotated[int, bounds(ge=0, le=MAX_STRIDE)] = 0
    """Native frames from one chosen frame to the next, read by `dense` only. 0: as the model was trained."""
    crop: Annotated[float, bounds(gt=0, le=1)] = 1.0
    """Side of the square crop over the shorter side of the frame. 0.875: a crop of 224 from frames of 256."""
    aggregation: Literal["softmax", "logits", "features"] = "softmax"
    """What is averaged over the views: their probabilities, as published; their logits; or their embeddings, each of
    unit length."""
    pixel_aspect: Literal["", "display", "stored"] = ""
    """Pixels that are not square: see `DataConfig.pixel_aspect`. Empty: as that says."""
    normalization: Literal["backbone", "imagenet"] = "backbone"
    """Mean and standard deviation taken out of the pixels: the backbone's own, or ImageNet's, which half of the
    published code uses on CLIP's weights."""
