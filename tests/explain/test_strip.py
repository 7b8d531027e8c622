"""What a report tells of a video: on which frames, and that it is what `explain_video` says."""

from pathlib import Path

import pytest
import torch

from vitaclip.config import RuntimeConfig, ViewsConfig
from vitaclip.explain import explain_video
from vitaclip.explain.canvas import heat_over_frames
from vitaclip.explain.strip import explain_briefly
from vitaclip.model import VitaCLIP
from vitaclip.predictor import Predictor

VIDEO = Path("videos/moving_left/0.mp4")


def predictor_of(world: Path, frames: int) -> Predictor:
    views, runtime = ViewsConfig(frames=frames), RuntimeConfig(precision="float32")
    predictor = Predictor(VitaCLIP.from_backbone(world / "backbone"), views=views, runtime=runtime)
    predictor.set_classes(["jump", "run", "stand", "walk", "wave"])
    return predictor


@pytest.mark.parametrize(("frames", "shown"), [(3, [0, 1, 2]), (12, [0, 2, 3, 5, 6, 8, 9, 11])])
def test_it_tells_what_the_explanation_does(world: Path, frames: int, shown: list[int]) -> None:
    predictor = predictor_of(world, frames)
    explained = explain_video(predictor, world / VIDEO, name="jump")
    told = explain_briefly(predictor, world / VIDEO, "jump")
    assert torch.equal(told.attended, heat_over_frames(explained.frames[shown], explained.attention.heat[shown], 112))
    assert told.frame_numbers == tuple(explained.frame_numbers[t] for t in shown)
    assert [kind.name for kind in told.kinds] == list(explained.attention.shares)  # plain CLIP: no prompts to rename
    for kind, share in zip(told.kinds, explained.attention.shares.values(), strict=True):
        assert kind.shares == pytest.approx(share[shown].tolist())
    assert told.whole == pytest.approx(explained.hiding.curve[0], rel=1e-5)
    assert told.hidden == pytest.approx([explained.hiding.one_hidden[t] for t in shown], rel=1e-5)
    assert told.neighbours == tuple((near.name, near.cosine) for near in explained.neighbours[:3])
    assert told.warning == explained.warning


def test_a_single_frame_has_none_to_hide(world: Path) -> None:
    told = explain_briefly(predictor_of(world, 1), world / VIDEO, "run")
    assert told.hidden == ()
    assert len(told.attended) == 1
