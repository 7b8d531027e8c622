"""The shipped tiny CLIP: its size, its card, and what it must know of freshly rendered stills."""

import pytest
import torch

from vitaclip.clip import CLIP
from vitaclip.miniature import pretrain, probes, stills
from vitaclip.weights.backbone import Backbone, load_backbone

FRESH_SEED = 2_000_003


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("miniature")


def test_it_is_small_and_has_a_card() -> None:
    files = list(pretrain.ASSETS.iterdir())
    assert {file.name for file in files} == {"config.json", "model.safetensors", "tokenizer.json", "CARD.md"}
    assert sum(file.stat().st_size for file in files) < 8_000_000
    card = (pretrain.ASSETS / "CARD.md").read_text(encoding="utf-8")
    assert "python -m vitaclip.miniature.pretrain" in card
    assert "Synthetic" in card


def test_it_has_the_shape_that_the_script_trains(backbone: Backbone) -> None:
    assert backbone.clip.config == pretrain.clip_config(backbone.tokenizer.vocab_size)
    assert sum(parameter.numel() for parameter in backbone.clip.parameters()) < 3_000_000


def test_it_knows_its_world(backbone: Backbone) -> None:
    """Bounds a few points below the card's figures: 600 stills put the error of a share at about 2 points."""
    fresh = stills.render_stills(FRESH_SEED, 0, 600, 64)
    scores = probes.zero_shot_scores(backbone.clip, backbone.tokenizer, fresh)
    bounds = {"colour": 0.99, "shape": 0.95, "motion": 0.79, "place": 0.84, "size": 0.47, "direction": 0.83}
    assert {name: round(scores[name], 3) for name in bounds if scores[name] < bounds[name]} == {}


def test_its_cls_token_carries_the_pose(backbone: Backbone) -> None:
    fresh = stills.render_stills(FRESH_SEED, 1000, 1200, 64)
    pose = probes.pose_scores(backbone.clip, fresh)["cls"]
    bounds = {"x": 0.85, "y": 0.85, "log_radius": 0.9, "sin_angle": 0.8, "cos_angle": 0.8}
    assert {name: round(pose[name], 3) for name in bounds if pose[name] < bounds[name]} == {}


def test_an_untrained_clip_would_fail(backbone: Backbone) -> None:
    torch.manual_seed(0)
    fresh = stills.render_stills(FRESH_SEED, 0, 200, 64)
    scores = probes.zero_shot_scores(CLIP(backbone.clip.config), backbone.tokenizer, fresh)
    assert max(scores.values()) < 0.5
