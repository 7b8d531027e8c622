"""The attention strip of a report: which frames, and that it is the attention explained."""

from pathlib import Path

import pytest
import torch

from vitaclip.config import RuntimeConfig, ViewsConfig
from vitaclip.explain import explain_video
from vitaclip.explain.canvas import heat_over_frames
from vitaclip.explain.strip import attended_frames
from vitaclip.model import VitaCLIP
from vitaclip.predictor import Predictor


@pytest.mark.parametrize(("frames", "shown"), [(3, [0, 1, 2]), (12, [0, 2, 3, 5, 6, 8, 9, 11])])
def test_it_shows_the_explained_clip(world: Path, frames: int, shown: list[int]) -> None:
    views, runtime = ViewsConfig(frames=frames), RuntimeConfig(precision="float32")
    predictor = Predictor(VitaCLIP.from_backbone(world / "backbone"), views=views, runtime=runtime)
    predictor.set_classes(["jump", "run"])
    video = world / "videos" / "moving_left" / "0.mp4"
    explained = explain_video(predictor, video)
    expected = heat_over_frames(explained.frames[shown], explained.attention.heat[shown], 112)
    assert torch.equal(attended_frames(predictor, video), expected)
