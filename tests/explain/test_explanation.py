"""Explaining real video files with a tiny model: every figure as computed by hand from the model's own parts."""

from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor

from small_world import NAMES, train_config
from tiny import all_kinds, tiny_backbone
from vitaclip.backbones.loading import load_backbone
from vitaclip.data.config import ViewsConfig
from vitaclip.data.reading.decode import open_video
from vitaclip.data.transforms import FrameFit
from vitaclip.explain.explanation import explain_video, last_attention, occlude_frames, stand_ins
from vitaclip.explain.picture import draw_explanation
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig

VIDEO = Path("videos/moving_left/1.mp4")


@pytest.fixture
def predictor(world: Path, tmp_path: Path) -> Predictor:
    return make_predictor(world, tmp_path, ViewsConfig(temporal=3, spatial=3))


def make_predictor(world: Path, tmp_path: Path, views: ViewsConfig) -> Predictor:
    config = train_config(world, tmp_path).model
    return Predictor(
        VideoModel(load_backbone(config.backbone), config, NAMES),
        views=views,
        runtime=RuntimeConfig(precision="float32"),
    )


def probabilities(predictor: Predictor, clip: Tensor) -> Tensor:
    """(K,) of one clip (T, 3, H, W) by itself, straight from the model."""
    with torch.no_grad():
        return predictor.model(clip[None], predictor.texts.features).softmax(dim=-1)[0]


def nearest_shown(t: int, num_frames: int, occluded: set[int]) -> int:
    """Walk away from t, a frame further each time, backwards first."""
    for distance in range(num_frames):
        for other in (t - distance, t + distance):
            if 0 <= other < num_frames and other not in occluded:
                return other
    raise AssertionError("all are occluded")


def occlude_plainly(clip: Tensor, occluded: set[int]) -> Tensor:
    return torch.stack([clip[nearest_shown(t, len(clip), occluded)] for t in range(len(clip))])


def test_stand_ins_are_the_nearest_shown_frames() -> None:
    for num_frames in range(1, 7):
        for count in range(num_frames):
            for occluded in combinations(range(num_frames), count):
                expected = [nearest_shown(t, num_frames, set(occluded)) for t in range(num_frames)]
                assert stand_ins(num_frames, occluded) == expected


def test_a_still_video_has_no_important_frame() -> None:
    found = occlude_frames(torch.ones(4, 3, 2, 2), lambda clips: clips.mean(dim=(1, 2, 3, 4)))
    assert found.order == (0, 1, 2, 3)
    assert found.single == found.curve == (1.0,) * 4


def test_figures_equal_those_worked_out_by_hand(predictor: Predictor, world: Path) -> None:
    path = world / VIDEO
    found, predicted = explain_video(predictor, path), predictor.predict(path)
    clip = predictor.load(path)[4]  # of 3 clips x 3 crops the middle ones
    assert torch.equal(found.frames, clip)
    assert (found.name, found.clip) == (predicted.names[0], (1, 3))
    assert [each.name for each in found.candidates] == list(predicted.names)
    assert [each.probability for each in found.candidates] == pytest.approx(predicted.probabilities)
    alone, feature = probabilities(predictor, clip), predictor.model.encode_video(clip[None])[0].detach()
    for each in found.candidates:
        k = NAMES.index(each.name)
        assert each.clip_probability == pytest.approx(float(alone[k]), rel=1e-5)
        assert each.cosine == pytest.approx(float(feature @ predictor.texts.features[k]), rel=1e-5)
    target = NAMES.index(found.name)
    for t, value in enumerate(found.occlusion.single):
        assert value == pytest.approx(float(probabilities(predictor, occlude_plainly(clip, {t}))[target]), rel=1e-5)
    for count, value in enumerate(found.occlusion.curve):
        occluded = occlude_plainly(clip, set(found.occlusion.order[:count]))
        assert value == pytest.approx(float(probabilities(predictor, occluded)[target]), rel=1e-5)
    assert list(found.occlusion.order) == sorted(range(4), key=lambda t: found.occlusion.single[t])
    text = predictor.texts.features
    others = sorted(((float(text[k] @ text[target]), NAMES[k]) for k in range(3) if k != target), reverse=True)
    assert [each.name for each in found.neighbours] == [name for _, name in others]
    assert [each.cosine for each in found.neighbours] == pytest.approx([cosine for cosine, _ in others])


def test_frame_numbers_are_places_in_the_video(world: Path, tmp_path: Path) -> None:
    predictor = make_predictor(world, tmp_path, ViewsConfig(sampling="segments", frames=3))
    found = explain_video(predictor, world / VIDEO)
    assert found.frame_numbers == (2, 6, 10)  # the middles of 12 frames in 3 parts
    with open_video(world / VIDEO) as video:
        decoded = FrameFit().resize(video.frames(found.frame_numbers), 16)
    assert torch.equal(found.frames, decoded)


def test_another_name_can_be_asked_about(predictor: Predictor, world: Path) -> None:
    for name in NAMES:
        found = explain_video(predictor, world / VIDEO, name=name.upper().replace(" ", "_"), top_k=1)
        assert found.name == name
        assert found.candidates[0].name == explain_video(predictor, world / VIDEO).name
        assert name in [each.name for each in found.candidates]
        alone = probabilities(predictor, found.frames)[NAMES.index(name)]
        assert found.occlusion.curve[0] == pytest.approx(float(alone), rel=1e-5)
        assert len(found.neighbours) == 1
        assert found.neighbours[0].name != name


def test_attention_is_on_the_pixels_given(world: Path, tmp_path: Path) -> None:
    found = explain_video(make_predictor(world, tmp_path, ViewsConfig(normalization="imagenet")), world / VIDEO)
    predictor = make_predictor(world, tmp_path, ViewsConfig())
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (found.frames / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(found.attention.heat, last_attention(predictor.model, pixels).heat)
    assert float((found.attention.heat - explain_video(predictor, world / VIDEO).attention.heat).abs().max()) > 1e-4


def test_one_frame_of_plain_clip_has_attention_alone(world: Path) -> None:
    predictor = Predictor(VideoModel.from_backbone(world / "backbone", num_frames=1))
    predictor.set_classes(["jump", "run"])
    found = explain_video(predictor, world / VIDEO)
    assert list(found.attention.weights) == ["patches", "itself"]
    assert (found.occlusion.single, len(found.occlusion.curve)) == ((), 1)


@pytest.mark.parametrize("cls", [[], ["cls tokens"]], ids=["as in SigLIP", "as in PE-Core"])
def test_towers_with_an_attention_pool_are_explained(world: Path, cls: list[str]) -> None:
    options = {"rope": "pe"} if cls else {"class_token": False, "norm_pre": False}
    config = ModelConfig(backbone="tiny", num_frames=4, context=all_kinds(2), head="templates")
    predictor = Predictor(VideoModel(tiny_backbone(pool="attention", **options), config))
    predictor.set_classes(NAMES)
    found = explain_video(predictor, world / VIDEO)
    assert list(found.attention.weights) == ["patches", *cls, "global", "local", "summary"]
    torch.testing.assert_close(sum(found.attention.mass.values()), torch.ones(4))
    assert draw_explanation(found).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("names", "options", "problem"),
    [
        (["run"], {}, "only candidate is 'run'"),
        (NAMES, {"name": "moving leg"}, "'moving leg', is not among the 3.*'moving left'"),
        (NAMES, {"name": "xyz"}, "choose one of them"),
        (NAMES, {"top_k": 0}, "top_k = 0"),
        (NAMES, {"path": "broken.mp4"}, r"broken\.mp4"),
    ],
)
def test_mistakes_are_told(
    predictor: Predictor, names: list[str], options: dict[str, str], problem: str, world: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    predictor.set_classes(names)
    path = tmp_path / options["path"] if "path" in options else world / VIDEO
    with pytest.raises(ValueError, match=problem):
        explain_video(predictor, **(options | {"path": path}))  # type: ignore[arg-type]
