"""Settings of a training run."""

from dataclasses import dataclass, field
from typing import Literal

from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.parts.config import ModelConfig, check_feature_cache
from vitaclip.runtime import RuntimeConfig
from vitaclip.settings import MAX_BATCH, require


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
