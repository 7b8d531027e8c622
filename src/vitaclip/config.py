"""The settings of a run, of its data and of evaluation, as frozen dataclasses.

Each field is documented below it, checked where it is defined, and saved with the results. Nothing here imports
torch, so that the command line can print its help at once.
"""

from dataclasses import dataclass, field
from typing import Literal

from vitaclip.parts.config import ModelConfig, SamplingConfig
from vitaclip.settings import MAX_BATCH, from_dict, require, to_dict

__all__ = ["ModelConfig", "SamplingConfig", "from_dict", "require", "to_dict"]

# ---------------------------------------------------------------------------------------------------------- a run


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """What a training clip goes through; one draw for all frames of the clip."""

    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Least and most area of the random crop, as a fraction of the frame."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Least and most width over height of the random crop."""
    flip: float = 0.0
    """Chance of a left-right mirror. 0 as published; leave it there where left and right are classes."""
    randaugment: str = ""
    """RandAugment as timm writes it, e.g. `rand-m7-n4-mstd0.5-inc1`. Empty: none."""
    mixup: float = 0.0
    """MixUp: the clips of a step are blended in pairs, labels too; the share is drawn from Beta(mixup, mixup). 0: off.
    With `cutmix` on too, each step takes one or the other."""
    cutmix: float = 0.0
    """CutMix: a box of each clip, the same in all frames, comes from another; its area from Beta(cutmix, cutmix)."""

    def __post_init__(self) -> None:
        scale, ratio = self.crop_scale, self.crop_ratio
        scale_fits = len(scale) == 2 and 0 < scale[0] <= scale[1] <= 1
        require(scale_fits, self, "crop_scale", "give two numbers, smaller first, above 0, at most 1")
        ratio_fits = len(ratio) == 2 and 0 < ratio[0] <= ratio[1]
        require(ratio_fits, self, "crop_ratio", "give two positive numbers, smaller first")
        require(0 <= self.flip <= 1, self, "flip", "is a probability: give 0 to 1")
        for name in ("mixup", "cutmix"):
            require(getattr(self, name) >= 0, self, name, "must be 0 (off) or more")


PixelAspect = Literal["display", "stored"]


@dataclass(frozen=True, kw_only=True)
class VideoLimits:
    """What a video may be at most. One beyond that cannot be read; no memory is spent on it."""

    frames: int = 2_592_000
    """Frames that are there, or that the tables of an mp4 file list; for a folder, pictures. The default is a day at 30
    a second."""
    pixels: int = 35_651_584
    """Width times height of a frame, as stored and as displayed. The default is 8192 x 4352, the most at level 6 of
    H.264, HEVC and AV1."""
    hours: float = 24.0
    """Length: the number of frames times the usual time between two. What the file states as its length does not
    count."""

    def __post_init__(self) -> None:
        for name in ("frames", "pixels"):
            require(getattr(self, name) >= 1, self, name, "must be at least 1")
        require(self.hours > 0, self, "hours", "must be above 0")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Videos and labels."""

    train: str = ""
    """Training videos: a list file (`path,label` or `path label` a line), a folder with one folder per class, or tar
    files: a folder of them, a pattern, a range such as `shards/train-{000..009}.tar`, or an address of these."""
    val: str = ""
    """Validation videos, likewise. Empty: train without validation."""
    root: str = ""
    """Folder that paths in lists are relative to; of a protocol, the folder of its lists. Empty: that of the list."""
    classes: str = ""
    """A file with a class name a line (line n, from 0, is label n); if there is no such file, a data set that
    `vitaclip list classes` shows; else names with commas between. Empty: in training the folder names of `train`, else
    those of the model."""
    shots: int = 0
    """Videos of each class to train on, drawn from `train`; the draw is written to train_list.csv in the run folder.
    0: all there are."""
    shots_seed: int | None = None
    """Decides which videos `shots` draws. None: the run's seed."""
    balance_classes: bool = False
    """Show every class equally often: an epoch repeats videos of small classes and leaves out some of large ones."""
    workers: int = 2
    """Processes that read videos. 0: read in the main process."""
    eval_batch_size: int = 8
    """Videos that go through the model at a time in evaluation."""
    on_error: Literal["raise", "skip"] = "skip"
    """A video that cannot be read: stop, or go on with another in training (counted in the log, listed in
    bad_videos.txt) and without it in evaluation (counted in the result)."""
    time_limit_seconds: float = 120.0
    """A video that takes longer cannot be read; the process that reads it is killed and replaced, also when the codec
    hangs. With `workers` 0 nothing can interrupt a codec, and the limit does not hold. 0: none."""
    limits: VideoLimits = field(default_factory=VideoLimits)
    """What a video may be at most."""
    pixel_aspect: PixelAspect = "display"
    """Pixels that are not square, as many copies of Kinetics state: display makes them so, as a player does; stored
    takes the picture as it is stored, as all published code does."""
    index_cache: str = ""
    """Folder that keeps where the frames of each video are, so that only the first epoch has to find out; may be
    shared by runs. Pays for long videos, slow disks, and files whose frames have to be counted. Empty: none."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Training-time changes of a clip."""
    feature_cache: str = ""
    """Folder that keeps the features of videos, for models without prompts in the image tower: each video, trained on
    or validated on, is then decoded and embedded once for all runs, which may share the folder. Empty: none."""
    feature_draws: int = 0
    """Clips of each training video in the feature cache. 0: one, seen as in a test (the middle of the video, the centre
    of the frames), whatever `augment` says. n: n clips drawn as for training, of which a step takes one; they depend
    on the file's name alone, so that runs of all seeds share them."""

    def __post_init__(self) -> None:
        require(self.shots >= 0, self, "shots", "must be 0 (all) or more")
        require(self.shots_seed is None or self.shots_seed >= 0, self, "shots_seed", "must be 0 or more")
        require(self.workers >= 0, self, "workers", "must be 0 or more")
        require(self.eval_batch_size >= 1, self, "eval_batch_size", "must be at least 1")
        require(self.on_error in ("raise", "skip"), self, "on_error", "choose raise or skip")
        require(self.feature_draws >= 0, self, "feature_draws", "must be 0 (the centre of each video) or more")
        cached = bool(self.feature_cache)
        require(cached or not self.feature_draws, self, "feature_draws", "needs a feature_cache; name a folder")
        mixed = self.augment.mixup or self.augment.cutmix
        remedy = "mixup and cutmix mix pixels, which features no longer have; set both to 0, or leave it empty"
        require(not cached or not mixed, self, "feature_cache", remedy)
        require(self.time_limit_seconds >= 0, self, "time_limit_seconds", "must be 0 (none) or more")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW with a cosine over the whole run."""

    steps: int = 30_000
    """Optimiser steps. 0: as many as `epochs` make."""
    epochs: int = 0
    """How often each training video is seen, on average, in place of `steps`, which must then be 0."""
    batch_size: int = 256
    """Clips of one step."""
    micro_batch_size: int = 0
    """Clips that go through the model at a time; gradients add up. 0: the whole batch."""
    learning_rate: float = 4e-4
    """At the first step, or after the warm-up; a half cosine takes it to 0."""
    warmup_steps: int = 0
    """First steps, over which the learning rate grows evenly to its full height. 0 as published."""
    weight_decay: float = 0.05
    """Decoupled, on what `decayed` says."""
    decayed: Literal["all", "matrices"] = "all"
    """What weight decay pulls at. all: everything that trains, as published. matrices: not norms, biases and the
    temperature, which have fewer than two axes."""
    loss: str = "cross_entropy"
    """cross_entropy: one label a video, as published. bce: binary cross-entropy of each class, for videos with several
    labels; a class's logit counts from the mean of all classes'. Or one of --plugins."""
    label_smoothing: float = 0.0
    """Part of each label that is spread evenly over all classes, by cross_entropy."""
    max_gradient_norm: float = 0.0
    """The gradient of all that trains is scaled down to this length when it is longer. 0: never."""
    ema_decay: float = 0.0
    """Keep an exponential moving average of what trains; this much of the old one stays at each step, e.g. 0.999
    (less at the start). The average is what is validated and what the model folder holds; checkpoints hold both.
    0: none."""

    def __post_init__(self) -> None:
        require(self.epochs >= 0, self, "epochs", "must be 0 (count in steps) or more")
        length_is_said_once = not self.epochs or not self.steps
        require(length_is_said_once, self, "epochs", f"steps = {self.steps} too; set one of the two to 0")
        require(self.steps >= (0 if self.epochs else 1), self, "steps", "must be at least 1, or 0 with epochs")
        fits = 0 <= self.warmup_steps < (self.steps or self.warmup_steps + 1)
        require(fits, self, "warmup_steps", "must be 0 or more, and fewer than all steps")
        require(1 <= self.batch_size <= MAX_BATCH, self, "batch_size", f"must be from 1 to {MAX_BATCH:,}")
        require(self.micro_batch_size >= 0, self, "micro_batch_size", "must be 0 (whole batch) or more")
        require(self.learning_rate > 0, self, "learning_rate", "must be positive")
        require(self.weight_decay >= 0, self, "weight_decay", "must be 0 or more")
        require(self.decayed in ("all", "matrices"), self, "decayed", "choose all or matrices")
        smooths = self.loss != "bce" or not self.label_smoothing
        require(
            0 <= self.label_smoothing < 1 and smooths,
            self,
            "label_smoothing",
            "must be 0 or more and below 1; 0 with bce",
        )
        require(self.max_gradient_norm >= 0, self, "max_gradient_norm", "must be 0 (never) or more")
        require(0 <= self.ema_decay < 1, self, "ema_decay", "must be 0 (none) or more and below 1")


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """How a video is looked at in evaluation, and how its views become one answer."""

    temporal: int = 3
    """Clips spread over the video."""
    spatial: int = 1
    """Crops along the long side of the frame. 1: the centre."""
    frames: int = 0
    """Frames of each clip. 0: as many as the model was trained on; with another number its time and local prompts are
    interpolated."""
    sampling: Literal["", "dense", "segments"] = ""
    """Which frames: see `SamplingConfig.kind`. Empty: as the model was trained."""
    stride: int = 0
    """Native frames from one chosen frame to the next, read by `dense` only. 0: as the model was trained."""
    crop: float = 1.0
    """Side of the square crop over the shorter side of the frame. 0.875: a crop of 224 from frames of 256."""
    average: Literal["softmax", "logits", "features"] = "softmax"
    """What is averaged over the views: their probabilities, as published; their logits; or their embeddings, each of
    unit length."""
    pixel_aspect: Literal["", "display", "stored"] = ""
    """Pixels that are not square: see `DataConfig.pixel_aspect`. Empty: as that says."""
    pixels: Literal["clip", "imagenet"] = "clip"
    """Mean and standard deviation taken out of the pixels: the backbone's own, or ImageNet's, which half of the
    published code uses on CLIP's weights."""

    def __post_init__(self) -> None:
        for name in ("temporal", "spatial"):
            require(getattr(self, name) >= 1, self, name, "must be at least 1")
        for name in ("frames", "stride"):
            require(getattr(self, name) >= 0, self, name, "must be 0 (as trained) or more")
        choices = ("", "dense", "segments")
        require(self.sampling in choices, self, "sampling", "choose dense or segments, or leave it empty (as trained)")
        require(0 < self.crop <= 1, self, "crop", "must be above 0, at most 1")
        aspects = ("", "display", "stored")
        require(self.pixel_aspect in aspects, self, "pixel_aspect", f"choose one of {aspects}")
        averages, pixels = ("softmax", "logits", "features"), ("clip", "imagenet")
        require(self.average in averages, self, "average", f"choose one of {averages}")
        require(self.pixels in pixels, self, "pixels", f"choose one of {pixels}")


@dataclass(frozen=True, kw_only=True)
class InterpolateConfig:
    """Between frozen CLIP and the model."""

    space: Literal["", "weights", "scores"] = ""
    """weights: of the towers, if they were trained; prompts stay. scores: the probabilities of the classes, after the
    views are averaged; frozen CLIP has the names in templates. Empty: the model alone."""
    ratio: float = 0.5
    """The model's part: 0 is frozen CLIP, 1 is the model. Published codes differ in the direction."""
    backbone: str = ""
    """The CLIP that trained towers started from, if it is not where it was then."""

    def __post_init__(self) -> None:
        require(self.space in ("", "weights", "scores"), self, "space", "choose weights or scores, or leave it empty")
        require(0 <= self.ratio <= 1, self, "ratio", "must be from 0 (frozen CLIP) to 1 (the model)")
        for name in ("ratio", "backbone"):
            used = bool(self.space) or getattr(self, name) == getattr(InterpolateConfig, name)
            require(used, self, name, "is read with a space alone; set space to weights or scores")


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """Where and how precisely to compute."""

    device: str = "auto"
    """`auto` takes CUDA, then MPS, then the CPU; or name one, such as cuda:1."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16 runs the towers under autocast. `auto` takes it where the hardware is fast at it."""
    compile: bool = False
    """Compile the image tower's blocks with torch.compile: code is made at the first step, and at the first of each new
    shape, which are slow. Results differ by rounding. Needs a C++ compiler on a CPU."""
    checkpoint_activations: bool = False
    """Training keeps only what goes into each block of the image tower and computes the rest again on the way back:
    the same numbers in a fraction of the memory, for up to half as much time again."""

    def __post_init__(self) -> None:
        choices = ("auto", "float32", "bfloat16")
        require(self.precision in choices, self, "precision", f"choose one of {choices}")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run, whole."""

    out: str = "runs/vitaclip"
    """Run folder: config, metrics, checkpoints, and the trained model."""
    seed: int = 0
    """Decides the prompts' start, the order of the videos and every augmentation."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """Backbone, prompts and sampling."""
    data: DataConfig = field(default_factory=DataConfig)
    """Videos and labels."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Steps, batches and learning rate."""
    views: ViewsConfig = field(default_factory=ViewsConfig)
    """How validation looks at a video."""
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    """Device and precision."""
    log_every: int = 10
    """Steps between two lines of metrics."""
    validate_every: int = 0
    """Steps between two validations. 0: once, at the end."""
    early_stop_patience: int = 0
    """Stop after this many validations in a row without a better figure; the model folder then holds the prompts of
    the best validation, whose checkpoint stays. 0: never stop early, keep the last prompts."""
    early_stop_metric: Literal["val/top1", "val/top5"] = "val/top1"
    """The figure that early stopping watches."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; the last step, and each that is validated, always has one."""
    keep_checkpoints: int = 2
    """Newest checkpoints that stay, beside that of the best validation."""
    wandb_project: str = ""
    """Send the metrics to this project of Weights & Biases too, whose package must be installed. Empty: do not."""

    def __post_init__(self) -> None:
        require(bool(self.out), self, "out", "name the run folder")
        for name in ("log_every", "checkpoint_every", "keep_checkpoints"):
            require(getattr(self, name) >= 1, self, name, "must be at least 1")
        require(self.validate_every >= 0, self, "validate_every", "must be 0 (at the end) or more")
        require(self.early_stop_patience >= 0, self, "early_stop_patience", "must be 0 (never) or more")
        validated = bool(self.data.val) and self.validate_every > 0
        can_stop = not self.early_stop_patience or validated
        require(can_stop, self, "early_stop_patience", "needs data.val and validate_every > 0")
        metrics = ("val/top1", "val/top5")
        require(self.early_stop_metric in metrics, self, "early_stop_metric", f"choose one of {metrics}")
        check_feature_cache(self.data, self.model)


def check_feature_cache(data: DataConfig, model: ModelConfig) -> None:
    """Raise ValueError for a feature cache beside a model whose features of a video change in training."""
    remedy = (
        "what trains here changes the features of a video, so they cannot be kept; set model.context = {}, model.pool ="
        " mean and model.train = none or text (then the text side alone learns), or leave it empty"
    )
    require(not data.feature_cache or model.video_is_frozen, data, "feature_cache", remedy)


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """What the demo does."""

    out: str = "demo"
    """Folder for the videos, the run and the page."""
    seed: int = 0
    """Another seed draws other videos and starts from other prompts."""
    steps: int = 450
    """Training steps."""
    batch_size: int = 24
    """Clips of one step."""
    train_clips: int = 4
    """Training videos of each trained class (216 classes)."""
    test_clips: int = 1
    """Test videos of each trained class; never-trained classes (72) get three times as many."""
    examples: int = 8
    """Videos that the page shows as film strips."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "train_clips", "test_clips", "examples"):
            require(getattr(self, name) >= 1, self, name, "must be at least 1")
        require(self.seed >= 0, self, "seed", "must be 0 or more")
        require(bool(self.out), self, "out", "name a folder")


# ------------------------------------------------------------------------------------------------------- data sets


@dataclass(frozen=True, kw_only=True)
class ScanConfig:
    """How the files of a data set are checked."""

    workers: int = 0
    """Files that are read at a time, each in a process of its own; 0 = as many as there are cores."""
    time_limit_seconds: float = 60.0
    """A file that takes longer is bad; the process that reads it is killed, also when the codec hangs."""
    limits: VideoLimits = field(default_factory=VideoLimits)
    """What a video may be at most."""

    def __post_init__(self) -> None:
        require(self.workers >= 0, self, "workers", "must be 0 (all cores) or more")
        require(self.time_limit_seconds > 0, self, "time_limit_seconds", "must be above 0")


@dataclass(frozen=True, kw_only=True)
class ResizeConfig:
    """How the files of a data set are shrunk."""

    short_side: int = 256
    """Pixels of the shorter side; smaller videos keep their size. Even, as H.264 wants it."""
    key_frame_interval: int = 16
    """Frames from one key frame to the next, at most: few are decoded before a wanted one, but files grow."""
    quality: int = 23
    """x264's constant rate factor: 1 is the best, 18 next to the original, 23 x264's default, 51 the worst."""
    workers: int = 0
    """Files that are shrunk at a time, each in a process of its own; 0 = as many as there are cores."""
    time_limit_seconds: float = 600.0
    """A file that takes longer fails; the process that shrinks it is killed, also when the codec hangs."""

    def __post_init__(self) -> None:
        require(self.short_side >= 16 and self.short_side % 2 == 0, self, "short_side", "give an even number from 16")
        require(self.key_frame_interval >= 1, self, "key_frame_interval", "must be at least 1 (key frames alone)")
        require(1 <= self.quality <= 51, self, "quality", "choose from 1 (best) to 51")
        require(self.workers >= 0, self, "workers", "must be 0 (all cores) or more")
        require(self.time_limit_seconds > 0, self, "time_limit_seconds", "must be above 0")


@dataclass(frozen=True, kw_only=True)
class ShardConfig:
    """How videos are packed into tar files."""

    max_gib: float = 1.0
    """Size of a tar file, at most, in GiB (2**30 bytes); a video that is larger has one to itself."""
    seed: int = 0
    """Decides the order of the videos, which is random: readers that go through a tar file from its start to its end
    then meet all classes."""

    def __post_init__(self) -> None:
        require(self.max_gib > 0, self, "max_gib", "must be above 0")
        require(self.seed >= 0, self, "seed", "must be 0 or more")
