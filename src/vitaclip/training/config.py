"""Settings of a training run."""

import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.parts.config import ModelConfig, check_feature_cache
from vitaclip.runtime import RuntimeConfig
from vitaclip.settings import (
    FLAG,
    MAX_BATCH,
    Config,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    Rule,
    bounds,
    require,
)


@dataclass(frozen=True, kw_only=True)
class OptimConfig(Config):
    """AdamW with a cosine over the whole run."""

    steps: NonNegativeInt = 30_000
    """Optimiser steps. 0: as many as `epochs` make."""
    epochs: NonNegativeInt = 0
    """How often each training video is seen, on average, in place of `steps`, which must then be 0."""
    batch_size: Annotated[int, bounds(ge=1, le=MAX_BATCH)] = 256
    """Clips of one step."""
    micro_batch_size: NonNegativeInt = 0
    """Clips that go through the model at a time; gradients add up. 0: the whole batch."""
    learning_rate: PositiveFloat = 4e-4
    """At the first step, or after the warm-up; a half cosine takes it down to `floor` of it."""
    backbone_rate: PositiveFloat = 1.0
    """Multiplier of the learning rate for the backbone's own weights, image and text tower alike, where they train; 0.1
    in X-CLIP's recipes."""
    floor: Probability = 0.0
    """Part of the learning rate that the cosine ends at."""
    warmup_steps: NonNegativeInt = 0
    """First steps, over which the learning rate grows evenly to its full height. 0 as published."""
    warmup_epochs: NonNegativeFloat = 0.0
    """The same in epochs, in place of `warmup_steps`, which must then be 0."""
    schedule: Literal["cosine", "timm_cosine"] = "cosine"
    """timm_cosine: as X-CLIP and ViFi-CLIP were trained. The cosine counts from the first step, so that the rate drops
    where the warm-up ends; the first update has a rate of 0; and `floor` of the backbone's rate holds for all."""
    betas: tuple[Annotated[float, bounds(ge=0, lt=1)], Annotated[float, bounds(ge=0, lt=1)]] = (0.9, 0.999)
    """How much of AdamW's moving averages of the gradient and of its square stays at each step."""
    weight_decay: NonNegativeFloat = 0.05
    """Decoupled, on what `decayed` says."""
    decayed: Literal["all", "matrices", "no_positions"] = "all"
    """What weight decay pulls at. all: everything that trains, as published. matrices: not norms, biases and the
    temperature, which have fewer than two axes. no_positions: of these, not the position embeddings either."""
    loss: str = "cross_entropy"
    """cross_entropy: one label a video, as published. bce: binary cross-entropy of each class, for videos with several
    labels; a class's logit counts from the mean of all classes'. Or one of --plugins."""
    label_smoothing: Annotated[float, bounds(ge=0, lt=1)] = 0.0
    """Part of each label that is spread evenly over all classes, by cross_entropy."""
    max_gradient_norm: NonNegativeFloat = 0.0
    """The gradient of all that trains is scaled down to this length when it is longer. 0: never."""
    ema_decay: Annotated[float, bounds(ge=0, lt=1)] = 0.0
    """Keep an exponential moving average of what trains; this much of the old one stays at each step, e.g. 0.999
    (less at the start). The average is what is validated and what the model folder holds; checkpoints hold both.
    0: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of_both = bool(self.epochs) != bool(self.steps)
        require(one_of_both, self, "epochs", f"steps = {self.steps} too; set one of the two, and the other to 0")
        once = not (self.warmup_steps and self.warmup_epochs)
        require(once, self, "warmup_epochs", f"warmup_steps = {self.warmup_steps} too; set one of the two")
        fits = self.epochs or self.warmup_steps < self.steps
        require(bool(fits), self, "warmup_steps", "must be fewer than all steps")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """A training run, whole."""

    out: Annotated[str, Rule(bool, "name the run folder")] = "runs/vitaclip"
    """Run folder: config, metrics, checkpoints, and the trained model."""
    init: str = ""
    """A trained model whose parts these start from: a model folder, the folder of a run, or a published checkpoint. Its
    backbone is to be `model.backbone`. What it learned for each class starts anew if the classes are others."""
    seed: NonNegativeInt = 0
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
    auto_batch: bool = field(default=False, metadata=FLAG)
    """Choose `optim.micro_batch_size`, and `runtime.checkpoint_activations` where needed or of use, by trying before
    the first step, for the memory that is free. What was chosen is in the run's config, and holds when it goes on."""
    log_every: PositiveInt = 10
    """Steps between two lines of metrics."""
    validate_every: NonNegativeInt = 0
    """Steps between two validations. 0: once, at the end."""
    early_stop_patience: NonNegativeInt = 0
    """Stop after this many validations in a row without a better figure; the model folder then holds the prompts of
    the best validation, whose checkpoint stays. 0: never stop early, keep the last prompts."""
    early_stop_metric: Literal["val/top1", "val/top5"] = "val/top1"
    """The figure that early stopping watches."""
    checkpoint_every: PositiveInt = 500
    """Steps between two checkpoints; the last step, and each that is validated, always has one."""
    keep_checkpoints: PositiveInt = 2
    """Newest checkpoints that stay, beside that of the best validation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validated = bool(self.data.val) and self.validate_every > 0
        can_stop = not self.early_stop_patience or validated
        require(can_stop, self, "early_stop_patience", "needs data.val and validate_every > 0")
        can_try = sys.platform == "linux" or not self.auto_batch
        require(can_try, self, "auto_batch", "this system counts no peak of memory; set optim.micro_batch_size")
        require(self.runtime.precision != "int8", self, "runtime", "int8 has no gradients; it is for testing")
        check_feature_cache(self.data, self.model)
