"""From a model whose towers were trained back towards the CLIP it started from.

Tuning on some classes costs a CLIP part of what it knows of all others; a model between the two often knows more than
either (WiSE-FT, Wortsman et al., CVPR 2022; for video Open-VCLIP, Weng et al., ICML 2023). In weights:

    theta = (1 - alpha) * CLIP + alpha * tuned
"""

from dataclasses import dataclass

import torch

from vitaclip.backbones import CLIP
from vitaclip.backbones.loading import Backbone, fingerprint, load_backbone
from vitaclip.model import TEMPERATURE, VideoModel
from vitaclip.settings import Config, Probability, require


@dataclass(frozen=True, kw_only=True)
class InterpolateConfig(Config):
    """Between frozen CLIP and a model whose towers were trained."""

    alpha: Probability = 1.0
    """The model's part in the weights of the towers: 0 is frozen CLIP, 1 is the model. Published codes differ in the
    direction."""
    backbone: str = ""
    """The CLIP that the towers started from, if it is not where it was then."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(not self.backbone or self.alpha < 1, self, "backbone", "is read with an alpha below 1 alone")


def interpolate(model: VideoModel, alpha: float, backbone: str = "") -> VideoModel:
    """A new model whose towers and temperature lie between frozen CLIP's (alpha 0) and the model's (1).

    What other parts learned, which CLIP has none of, is the model's at any alpha.

    >>> interpolate(VideoModel.from_pretrained("runs/tuned/model"), 0.5).save_pretrained("between")  # doctest: +SKIP

    Args:
        model: its towers were trained.
        alpha: the model's part.
        backbone: where the CLIP is that the towers started from. Empty: where it was then.

    Raises:
        ValueError: if the towers were not trained; or that CLIP is not there, not known, or another one.
    """
    if alpha == 1:
        return model
    if model.config.train == "none":
        raise ValueError("the towers of this model are frozen CLIP's own, nothing lies between the two; set alpha to 1")
    start = _start_of_towers(model, backbone).to(model.device).state_dict()
    tuned, adapter = model.backbone.state_dict(), model.adapter_state()
    towers = {name: torch.lerp(value, tuned[name], alpha) for name, value in start.items()}
    if TEMPERATURE in adapter:
        adapter[TEMPERATURE] = torch.lerp(start["logit_scale"], adapter[TEMPERATURE], alpha)
    clip = CLIP.from_state(model.backbone.config, towers)
    mixed = Backbone(clip, model.backbone.tokenizer, model.config.backbone, fingerprint(towers))
    between = VideoModel(mixed, model.config, model.class_names, saved=adapter).to(model.device).eval()
    between.origin = model.origin
    return between


def _start_of_towers(model: VideoModel, backbone: str) -> CLIP:
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
    return start.clip
