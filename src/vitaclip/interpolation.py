"""From a trained model back towards the CLIP it started from.

Tuning on some classes costs a CLIP part of what it knows of all others; a model between the two often knows more than
either (WiSE-FT, Wortsman et al., CVPR 2022; for video Open-VCLIP, Weng et al., ICML 2023). In weights:

    theta = (1 - alpha) * CLIP + alpha * tuned

so alpha 0 is frozen CLIP and 1 the model. Scores are mixed likewise, by `vitaclip.evaluate.evaluation`.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from vitaclip.backbones import CLIP
from vitaclip.backbones.loading import Backbone, fingerprint, load_backbone
from vitaclip.model import TEMPERATURE, VideoModel
from vitaclip.settings import Config, Probability, require


@dataclass(frozen=True, kw_only=True)
class InterpolateConfig(Config):
    """Between frozen CLIP and the model."""

    space: Literal["", "weights", "scores"] = ""
    """weights: of the towers, if they were trained; prompts stay. scores: the probabilities of the classes, after the
    views are averaged; frozen CLIP has the names in templates. Empty: the model alone."""
    alpha: Probability = 0.5
    """The model's part: 0 is frozen CLIP, 1 is the model. Published codes differ in the direction."""
    backbone: str = ""
    """The CLIP that trained towers started from, if it is not where it was then."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "backbone"):
            used = bool(self.space) or getattr(self, name) == getattr(InterpolateConfig, name)
            require(used, self, name, "is read with a space alone; set space to weights or scores")


def frozen_clip(model: VideoModel, backbone: str = "") -> VideoModel:
    """The CLIP that a model started from, as it was: no part learns, the same frames, names in the model's templates.

    Args:
        model: parts on frozen towers, which are then shared; or trained towers.
        backbone: where the CLIP is that trained towers started from. Empty: where it was then.

    Raises:
        ValueError: if that CLIP is not there, not known, or another one.
    """
    start = _start_of_towers(model, backbone)
    config = replace(model.config, backbone=start.name, context={}, pool="mean", head="templates", train="none")
    return VideoModel(start, config).to(model.device).eval()


def interpolate(model: VideoModel, alpha: float, backbone: str = "") -> VideoModel:
    """A new model whose towers and temperature lie between frozen CLIP's (alpha 0) and the model's (1).

    What other parts learned, which CLIP has none of, is the model's at any alpha.

    >>> interpolate(VideoModel.from_pretrained("runs/tuned/model"), 0.5).save_pretrained("between")  # doctest: +SKIP

    Raises:
        ValueError: if the towers were not trained; or see `frozen_clip`.
    """
    if model.config.train == "none":
        raise ValueError(
            "the towers of this model are frozen CLIP's own, so there is nothing between the two in weights;"
            " interpolate the scores (--interpolate.space scores)"
        )
    start = frozen_clip(model, backbone)
    tuned, adapter = model.backbone.state_dict(), model.adapter_state()
    towers = {name: torch.lerp(value, tuned[name], alpha) for name, value in start.backbone.state_dict().items()}
    if TEMPERATURE in adapter:
        adapter[TEMPERATURE] = torch.lerp(start.adapter_state()[TEMPERATURE], adapter[TEMPERATURE], alpha)
    clip = CLIP.from_state(model.backbone.config, towers)
    mixed = Backbone(clip, model.backbone.tokenizer, model.config.backbone, fingerprint(towers))
    between = VideoModel(mixed, model.config, model.class_names, saved=adapter).to(model.device).eval()
    between.origin = model.origin
    return between


def _start_of_towers(model: VideoModel, backbone: str) -> Backbone:
    if model.config.train == "none":
        if backbone:
            raise ValueError(f"interpolate.backbone = {backbone!r}: the model has its own frozen CLIP; leave it empty")
        return Backbone(model.backbone, model.backbone.tokenizer, model.config.backbone, model.fingerprint)
    name = backbone or (model.origin.backbone if model.origin else "")
    if not name:
        raise ValueError(
            "the model folder does not say which CLIP its towers started from; name it with --interpolate.backbone"
        )
    start = load_backbone(name, image_size=model.image_size)
    if model.origin and start.fingerprint != model.origin.fingerprint:
        raise ValueError(
            f"the towers started from a CLIP with fingerprint {model.origin.fingerprint}, but {start.name!r} has"
            f" {start.fingerprint}; name the right one with --interpolate.backbone"
        )
    return start
