"""Pixels as the backbone's family makes them: transformers' image processors are the oracle."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tiny import tiny_model
from vitaclip.backbones.config import PixelConfig
from vitaclip.data.config import AugmentConfig
from vitaclip.data.loading.clips import EvalViews
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.transforms import FrameFit, TrainTransform, spatial_views
from vitaclip.model import VideoModel

HALF = (0.5, 0.5, 0.5)


def frames(height: int, width: int) -> Tensor:
    """Smooth colours, as pictures have them."""
    down, across = torch.meshgrid(torch.linspace(0, 3, height), torch.linspace(0, 5, width), indexing="ij")
    waves = torch.stack([down.sin() * across.cos(), (down + across).sin(), (down * across).cos()])
    return ((waves + 1) * 127.5).round().to(torch.uint8)[None]


def processor(kind: str, size: int, resample: int) -> Any:
    if kind == "crop":
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        return CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=size, resample=resample)
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    return SiglipImageProcessorPil(size={"height": size, "width": size}, resample=resample)


@pytest.mark.parametrize("kind", ["crop", "squash"])
@pytest.mark.parametrize(("interpolation", "resample"), [("bilinear", 2), ("bicubic", 3)])
@pytest.mark.parametrize(("height", "width"), [(90, 120), (121, 60), (33, 47)])
def test_pixels_are_the_processors(kind: Any, interpolation: Any, resample: int, height: int, width: int) -> None:
    """35 pixels a side, no multiple of a patch. Ours are rounded by torch, theirs by Pillow: 2 of 255 apart at most."""
    peer = processor(kind, 35, resample)
    pixels = PixelConfig(mean=tuple(peer.image_mean), std=tuple(peer.image_std), fit=kind, interpolation=interpolation)
    model = with_pixels(pixels)
    clip = frames(height, width)
    view = spatial_views(model.frame_fit.resize(clip, 35), 35, 1)[0]
    theirs = torch.as_tensor(np.stack(peer(clip[0], return_tensors="np")["pixel_values"]))
    apart = (model.backbone.normalize_pixels(view) - theirs).abs() * torch.tensor(peer.image_std).view(3, 1, 1) * 255
    assert apart.max() < 2.01
    assert apart.mean() < 0.5


def with_pixels(pixels: PixelConfig) -> VideoModel:
    model = tiny_model()
    model.backbone.config = replace(model.backbone.config, pixels=pixels)
    model.backbone.set_pixels(pixels)
    return model


def test_model_tells_how_frames_fit() -> None:
    model = with_pixels(PixelConfig(mean=HALF, std=HALF, fit="squash", interpolation="bilinear"))
    assert model.frame_fit == FrameFit(True, "bilinear")


@pytest.mark.parametrize("fit", [FrameFit(), FrameFit(True), FrameFit(True, "bilinear")])
def test_largest_training_box_is_the_test_view(fit: FrameFit) -> None:
    """At full area and square shape: the frame's central square, or where it is squashed the whole frame."""
    whole = AugmentConfig(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))
    for clip in (frames(60, 100), frames(100, 60)):
        view = spatial_views(fit.resize(clip, 24), 24, 1)[0]
        trained = TrainTransform(24, whole, fit)(clip, np.random.default_rng(0))
        assert (trained.int() - view.int()).abs().float().mean() < 1.5


def test_squashed_boxes_lie_anywhere_in_the_frame() -> None:
    """A frame twice as wide as high gives boxes twice as wide, as if it had been squashed before."""
    clip = torch.zeros(1, 3, 50, 100, dtype=torch.uint8)
    clip[..., 50:] = 200
    half = AugmentConfig(crop_scale=(0.25, 0.25), crop_ratio=(1.0, 1.0))
    left = [
        TrainTransform(10, half, FrameFit(True))(clip, np.random.default_rng(seed)).float().mean().item() < 100
        for seed in range(200)
    ]
    assert 0.35 < np.mean(left) < 0.65


def test_crops_of_squashed_frames_are_refused() -> None:
    sampling = FrameSampling("dense", 4, 4)
    with pytest.raises(ValueError, match="squashes whole frames, so all crops are one; give 1"):
        EvalViews(sampling, 1, 3, 24, fit=FrameFit(True))
    assert EvalViews(sampling, 1, 3, 24, 0.875, FrameFit(True)).shape[0] == 3
