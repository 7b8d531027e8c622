"""Between frozen CLIP and a model: in weights tensor by tensor, in scores video by video, against plain sums."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from small_world import NAMES, train_config
from tiny import parameter_of
from vitaclip.backbones.loading import load_backbone
from vitaclip.data.config import DataConfig, ViewsConfig
from vitaclip.data.lists.sources import read_folder
from vitaclip.evaluate.evaluation import Evaluator, mixed_models
from vitaclip.evaluate.metrics import Scores
from vitaclip.interpolation import InterpolateConfig, frozen_clip, interpolate
from vitaclip.model import VideoModel
from vitaclip.runtime import RuntimeConfig
from vitaclip.train.trainer import Trainer

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


@pytest.fixture(scope="module")
def prompted(world: Path, tmp_path_factory: pytest.TempPathFactory) -> VideoModel:
    """A model of prompts on frozen towers."""
    return Trainer(train_config(world, tmp_path_factory.mktemp("prompted"))).fit()


@torch.no_grad()
def logits(model: VideoModel) -> torch.Tensor:
    pixels = torch.Generator().manual_seed(1)
    video = torch.randint(0, 256, (3, 4, 3, 16, 16), generator=pixels, dtype=torch.uint8)
    return model(video, model.encode_text(OTHERS))


def scores(
    world: Path, model: VideoModel, interpolation: InterpolateConfig | None = None, average: str = "softmax"
) -> Scores:
    views = ViewsConfig(temporal=2, aggregation=average)  # type: ignore[arg-type]
    runtime, data = RuntimeConfig(precision="float32"), DataConfig(workers=0)
    rows = read_folder(world / "videos").samples
    return Evaluator(model, runtime, data, interpolation=interpolation).run(rows, NAMES, views).scores


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
    looking = mixed_models(model, InterpolateConfig(space="weights", alpha=0.3))[0][0]  # reports explain this one
    assert torch.equal(logits(looking), logits(between))
    for name, value in between.backbone.state_dict().items():
        torch.testing.assert_close(value.double(), 0.7 * start[name].double() + 0.3 * end[name].double(), msg=name)
    expected = 0.7 * start["logit_scale"] + 0.3 * parameter_of(model, "head.logit_scale")
    torch.testing.assert_close(parameter_of(between, "head.logit_scale").detach(), expected.detach())


def test_a_model_between_is_saved_and_interpolated(tuned: Path, tmp_path: Path) -> None:
    between = interpolate(VideoModel.from_pretrained(tuned), 0.5)
    loaded = VideoModel.from_pretrained(between.save_pretrained(tmp_path / "between"))
    assert torch.equal(logits(loaded), logits(between))
    torch.testing.assert_close(logits(interpolate(loaded, 0)), logits(frozen_clip(between)))


def test_prompts_stay_in_weight_space(world: Path, tmp_path: Path) -> None:
    config = train_config(world, tmp_path)
    model = Trainer(replace(config, model=replace(config.model, train="both"))).fit()
    state, between = model.adapter_state(), interpolate(model, 0.5).adapter_state()
    assert {name for name in state if not torch.equal(state[name], between[name])} == {"head.logit_scale"}


def test_frozen_towers_have_nothing_between_them(prompted: VideoModel) -> None:
    with pytest.raises(ValueError, match=r"frozen CLIP's own.*--interpolate.space scores"):
        interpolate(prompted, 0.5)
    with pytest.raises(ValueError, match="the model has its own frozen CLIP; leave it empty"):
        frozen_clip(prompted, "miniature")


def test_start_of_towers_is_known_or_asked_for(world: Path, tuned: Path, tmp_path: Path) -> None:
    model = VideoModel.from_pretrained(tuned)
    with pytest.raises(ValueError, match=r"started from a CLIP with fingerprint \w+, but 'miniature' has"):
        frozen_clip(model, "miniature")
    content = json.loads((tuned / "config.json").read_text())
    assert content.pop("origin")["backbone"] == str((world / "backbone").resolve())
    older = model.save_pretrained(tmp_path / "older")
    (older / "config.json").write_text(json.dumps(content))
    model = VideoModel.from_pretrained(older)
    with pytest.raises(ValueError, match=r"name it with --interpolate\.backbone"):
        interpolate(model, 0.5)
    assert torch.equal(logits(interpolate(model, 1, str(world / "backbone"))), logits(model))


@pytest.mark.parametrize("average", ["softmax", "logits", "features"])
def test_scores_are_the_mean_of_probabilities(world: Path, prompted: VideoModel, average: str) -> None:
    own = scores(world, prompted, average=average)
    clip = scores(world, frozen_clip(prompted), average=average)
    assert not torch.allclose(own.probabilities, clip.probabilities, atol=1e-3)
    at = {r: scores(world, prompted, InterpolateConfig(space="scores", alpha=r), average) for r in (0.0, 0.3, 1.0)}
    for end, alpha in ((clip, 0.0), (own, 1.0)):
        assert torch.equal(at[alpha].probabilities, end.probabilities)
    expected = 0.3 * own.probabilities.double() + 0.7 * clip.probabilities.double()
    torch.testing.assert_close(at[0.3].probabilities.double(), expected, atol=1e-7, rtol=1e-6)


def test_frozen_clip_has_the_templates_of_the_model(world: Path, prompted: VideoModel) -> None:
    model = frozen_clip(prompted)
    assert model.is_zero_shot
    assert model.backbone is prompted.backbone
    assert model.config.sampling == prompted.config.sampling
    assert parameter_of(model, "head.logit_scale") == load_backbone(world / "backbone").clip.logit_scale
    torch.testing.assert_close(model.encode_text(OTHERS), prompted.encode_text(OTHERS, prompted.config.templates))


def test_wrong_interpolation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha = 1\.5: must be at least 0 and at most 1"):
        InterpolateConfig(alpha=1.5)
    with pytest.raises(ValueError, match="choose one of weights, scores"):
        InterpolateConfig(space="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"alpha = 0\.3: is read with a space alone; set space to weights or scores"):
        InterpolateConfig(alpha=0.3)
    with pytest.raises(ValueError, match="backbone = 'x': is read with a space alone"):
        InterpolateConfig(backbone="x")
