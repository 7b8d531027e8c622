"""From a trained model back towards the CLIP it started from.

Tuning on some classes costs a CLIP part of what it knows of all others; a model between the two often knows more than
either (WiSE-FT, Wortsman et al., CVPR 2022; for video Open-VCLIP, Weng et al., ICML 2023). In weights:

    theta = (1 - ratio) * CLIP + ratio * tuned

so ratio 0 is frozen CLIP and 1 the model. Scores are mixed likewise, by `vitaclip.evaluate.evaluation`.
"""

from dataclasses import replace

import torch

from vitaclip.clip import CLIP
from vitaclip.config import TextPromptConfig, VideoPromptConfig
from vitaclip.model import VitaCLIP
from vitaclip.weights.backbone import Backbone, load_backbone
from vitaclip.weights.fingerprint import fingerprint


def frozen_clip(model: VitaCLIP, backbone: str = "") -> VitaCLIP:
    """The CLIP that a model started from, as it was: no prompts, the same frames, names in the model's templates.

    Args:
        model: prompts on frozen towers, which are then shared; or trained towers.
        backbone: where the CLIP is that trained towers started from. Empty: where it was then.

    Raises:
        ValueError: if that CLIP is not there, not known, or another one.
    """
    start = _start_of_towers(model, backbone)
    video = VideoPromptConfig(
        num_frames=model.config.video.num_frames, num_global=0, local=False, summary=False, time=False
    )
    text = TextPromptConfig(num_context=0, templates=model.config.text.templates)
    config = replace(model.config, backbone=start.name, video=video, text=text, train_towers=False)
    return VitaCLIP(start, config).to(model.device).eval()


def interpolate(model: VitaCLIP, ratio: float, backbone: str = "") -> VitaCLIP:
    """A new model whose towers and temperature lie between frozen CLIP's (ratio 0) and the model's (1).

    Prompts, which CLIP has none of, are the model's at any ratio.

    Raises:
        ValueError: if the towers were not trained; or see `frozen_clip`.
    """
    if not model.config.train_towers:
        raise ValueError(
            "the towers of this model are frozen CLIP's own, so there is nothing between the two in weights;"
            " interpolate the scores (--interpolate.space scores)"
        )
    start = frozen_clip(model, backbone)
    tuned, prompts = model.clip.state_dict(), model.prompts.state_dict()
    towers = {name: torch.lerp(value, tuned[name], ratio) for name, value in start.clip.state_dict().items()}
    prompts["logit_scale"] = torch.lerp(start.prompts.logit_scale.detach(), prompts["logit_scale"], ratio)
    clip = CLIP.from_state(model.clip.config, towers)
    mixed = Backbone(clip, model.tokenizer, model.config.backbone, fingerprint(clip))
    between = VitaCLIP(mixed, model.config, model.class_names, saved=prompts).to(model.device).eval()
    between.origin = model.origin
    return between


def _start_of_towers(model: VitaCLIP, backbone: str) -> Backbone:
    if not model.config.train_towers:
        if backbone:
            raise ValueError(f"interpolate.backbone = {backbone!r}: the model has its own frozen CLIP; leave it empty")
        return Backbone(model.clip, model.tokenizer, model.config.backbone, model.fingerprint)
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
