"""What a report shows of a video: on which frames, and that it is what `explain_video` says."""

from pathlib import Path

import pytest
import torch

from vitaclip.data.config import ViewsConfig
from vitaclip.explain import explain_video
from vitaclip.explain.film_strip import explanation_section, overlay_heat
from vitaclip.model import VideoModel
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig

VIDEO = Path("videos/moving_left/0.mp4")


def predictor_of(world: Path, frames: int) -> Predictor:
    views, runtime = ViewsConfig(frames=frames), RuntimeConfig(precision="float32")
    predictor = Predictor(VideoModel.from_backbone(world / "backbone"), views=views, runtime=runtime)
    predictor.set_classes(["jump", "run", "stand", "walk", "wave"])
    return predictor


@pytest.mark.parametrize(("frames", "shown"), [(3, [0, 1, 2]), (12, [0, 2, 3, 5, 6, 8, 9, 11])])
def test_section_equals_the_explanation(world: Path, frames: int, shown: list[int]) -> None:
    predictor = predictor_of(world, frames)
    explained = explain_video(predictor, world / VIDEO, name="jump")
    section = explanation_section(predictor, world / VIDEO, "jump")
    assert torch.equal(section.overlays, overlay_heat(explained.frames[shown], explained.attention.heat[shown], 112))
    assert section.frame_numbers == tuple(explained.frame_numbers[t] for t in shown)
    assert [kind.name for kind in section.kinds] == list(explained.attention.mass)  # plain CLIP: no prompts to rename
    for kind, mass in zip(section.kinds, explained.attention.mass.values(), strict=True):
        assert kind.attention_mass == pytest.approx(mass[shown].tolist())
    assert section.probability == pytest.approx(explained.occlusion.curve[0], rel=1e-5)
    assert section.occluded == pytest.approx([explained.occlusion.single[t] for t in shown], rel=1e-5)
    assert section.neighbours == tuple((near.name, near.cosine) for near in explained.neighbours[:3])
    assert section.warning == explained.warning


def test_single_frame_has_no_occlusion(world: Path) -> None:
    section = explanation_section(predictor_of(world, 1), world / VIDEO, "run")
    assert section.occluded == ()
    assert len(section.overlays) == 1


def test_heat_is_brightest_where_attention_is_most() -> None:
    heat = torch.full((2, 2, 2), 0.1)
    heat[1, 0, 1] = 0.4
    heated = overlay_heat(torch.full((2, 3, 8, 8), 90, dtype=torch.uint8), heat, side=32)
    assert (heated.shape, heated.dtype) == ((2, 3, 32, 32), torch.uint8)
    brightness = heated.float().mean(dim=1)
    frame, place = divmod(int(brightness.argmax()), 32 * 32)
    assert (frame, place // 32 < 16, place % 32 >= 16) == (1, True, True)
    assert float(brightness[0].max() - brightness[0].min()) < 1
