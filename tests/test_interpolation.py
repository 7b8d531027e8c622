"""Between frozen CLIP and a model whose towers were trained, tensor by tensor, against plain sums."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from small_world import train_config
from tiny import parameter_of
from vitaclip.backbones.loading import load_backbone
from vitaclip.interpolation import InterpolateConfig, interpolate
from vitaclip.model import VideoModel
from vitaclip.training.trainer import Trainer

NO_PROMPTS: dict[str, Any] = {"num_frames": 4, "context": {}}
OTHERS = ("stand", "run", "sit down")


@pytest.fixture(scope="module")
def tuned(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder of a full fine-tuning."""
    out = tmp_path_factory.mktemp("tuned")
    config = train_config(world, out, learning_rate=1e-2)
    text: dict[str, Any] = {"head": "templates", "templates": ("a photo of {}.",)}
    Trainer(replace(config, model=replace(config.model, **NO_PROMPTS, **text, train="both"))).fit()
    return out / "model"


@torch.no_grad()
def logits(model: VideoModel) -> torch.Tensor:
    pixels = torch.Generator().manual_seed(1)
    video = torch.randint(0, 256, (3, 4, 3, 16, 16), generator=pixels, dtype=torch.uint8)
    return model(video, model.encode_text(OTHERS))


def test_weights_at_the_ends_are_the_two_models(world: Path, tuned: Path) -> None:
    model = VideoModel.from_pretrained(tuned)
    start = load_backbone(world / "backbone")
    frozen = VideoModel(start, replace(model.config, train="none")).eval()
    assert not torch.allclose(logits(model), logits(frozen))
    for alpha, end in ((0, frozen), (1, model)):
        at_end = interpolate(model, alpha)
        weights, expected = at_end.backbone.state_dict(), end.backbone.state_dict()
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
        # Not by bits: where weights lie in memory decides which kernels add them up.
        torch.testing.assert_close(logits(at_end), logits(end))


def test_weights_between_are_on_the_line(world: Path, tuned: Path) -> None:
    model = VideoModel.from_pretrained(tuned)
    start, end = load_backbone(world / "backbone").clip.state_dict(), model.backbone.state_dict()
    between = interpolate(model, 0.3)
    for name, value in between.backbone.state_dict().items():
        torch.testing.assert_close(value.double(), 0.7 * start[name].double() + 0.3 * end[name].double(), msg=name)
    expected = 0.7 * start["logit_scale"] + 0.3 * parameter_of(model, "head.logit_scale")
    torch.testing.assert_close(parameter_of(between, "head.logit_scale").detach(), expected.detach())


def test_a_model_between_is_saved_and_interpolated(tuned: Path, tmp_path: Path) -> None:
    between = interpolate(VideoModel.from_pretrained(tuned), 0.5)
    loaded = VideoModel.from_pretrained(between.save_pretrained(tmp_path / "between"))
    assert torch.equal(logits(loaded), logits(between))
    torch.testing.assert_close(logits(interpolate(loaded, 0)), logits(interpolate(between, 0)))


def test_prompts_stay_in_weight_space(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path)
    model = Trainer(replace(config, model=replace(config.model, train="both"))).fit()
    state, between = model.adapter_state(), interpolate(model, 0.5).adapter_state()
    assert {name for name in state if not torch.equal(state[name], between[name])} == {"head.logit_scale"}


def test_frozen_towers_have_nothing_between_them(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path).model
    prompted = VideoModel(load_backbone(world / "backbone"), config)
    with pytest.raises(ValueError, match="frozen CLIP's own, nothing lies between the two; set alpha to 1"):
        interpolate(prompted, 0.5)
    assert interpolate(prompted, 1) is prompted


def test_start_of_towers_is_known_or_asked_for(world: Path, tuned: Path, tmp_path: Path) -> None:
    model = VideoModel.from_pretrained(tuned)
    with pytest.raises(ValueError, match=r"started from a CLIP with fingerprint \w+, but 'miniature' has"):
        interpolate(model, 0, "miniature")
    content = json.loads((tuned / "config.json").read_text())
    assert content.pop("origin")["backbone"] == str((world / "backbone").resolve())
    older = model.save_pretrained(tmp_path / "older")
    (older / "config.json").write_text(json.dumps(content))
    model = VideoModel.from_pretrained(older)
    with pytest.raises(ValueError, match=r"name it with --interpolate\.backbone"):
        interpolate(model, 0.5)
    assert not torch.equal(logits(interpolate(model, 0.5, str(world / "backbone"))), logits(model))


def test_wrong_interpolation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha = 1\.5: must be at least 0 and at most 1"):
        InterpolateConfig(alpha=1.5)
    with pytest.raises(ValueError, match="backbone = 'x': is read with an alpha below 1 alone"):
        InterpolateConfig(backbone="x")
