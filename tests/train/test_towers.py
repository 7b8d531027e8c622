"""Full fine-tuning: the same loop, with the towers among what trains."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from small_world import NAMES, train_config, train_until
from vitaclip.data import TrainBatch
from vitaclip.model import VideoModel
from vitaclip.train.config import TrainConfig
from vitaclip.train.trainer import Trainer


def towers_config(world: Path, out: Path, *, prompts: bool = True, **optim: float) -> TrainConfig:
    config = train_config(world, out, **{"learning_rate": 1e-3, **optim})
    model = replace(config.model, train="both")
    if not prompts:
        model = replace(model, context={}, head="templates")
    return replace(config, model=model)


@pytest.mark.parametrize("prompts", [False, True])
@pytest.mark.parametrize("micro_batch_size", [0, 3])
def test_step_has_the_gradient_of_plain_backpropagation(
    world: Path, tmp_path: Path, prompts: bool, micro_batch_size: int
) -> None:
    trainer = Trainer(towers_config(world, tmp_path, prompts=prompts, micro_batch_size=micro_batch_size))
    model = trainer.model.double()
    pixels = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (4, 4, 3, 16, 16), generator=pixels, dtype=torch.uint8)
    batch = TrainBatch(0, video, torch.arange(4) % len(NAMES), tuple(range(4)), ())
    parameters = model.trainable_parameters()
    loss = F.cross_entropy(model(video, model.encode_text(NAMES)), batch.labels)
    expected = torch.autograd.grad(loss, list(parameters.values()))
    trainer.train_step(batch)
    for (name, parameter), gradient in zip(parameters.items(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-5, atol=1e-9, msg=name)


def test_full_finetuning_trains_towers(world: Path, tmp_path: Path) -> None:
    model = Trainer(towers_config(world, tmp_path, prompts=False)).model
    towers = {f"backbone.{name}" for name, _ in model.backbone.named_parameters() if name != "logit_scale"}
    assert set(model.trainable_parameters()) == towers | {"head.logit_scale"}
    counts = model.trained_counts()
    assert counts["backbone"] + counts["logit_scale"] == sum(counts.values())
    assert sum(counts.values()) == sum(p.numel() for p in model.trainable_parameters().values())


def test_text_features_follow_the_text_tower(world: Path, tmp_path: Path) -> None:
    """Without a learned context they are computed once a run, but not when the tower moves."""
    trainer = Trainer(towers_config(world, tmp_path, prompts=False))
    before = trainer.model.encode_text(NAMES).detach()
    trainer.train()
    assert not torch.allclose(trainer.model.encode_text(NAMES), before)
    assert trainer._frozen_text is None


def test_the_model_folder_holds_the_towers_and_loads(world: Path, tmp_path: Path) -> None:
    config = towers_config(world, tmp_path, prompts=False)
    start = Trainer(config).model.backbone.state_dict()
    start = {name: value.clone() for name, value in start.items()}
    model = Trainer(config).fit()
    loaded = VideoModel.from_pretrained(tmp_path / "model")
    state = loaded.backbone.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.backbone.state_dict().items())
    assert not torch.equal(start["vision.proj"], state["vision.proj"])
    assert not torch.equal(start["text.token_embed.weight"], state["text.token_embed.weight"])
    video = torch.zeros(1, 4, 3, 16, 16, dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(loaded.encode_video(video), model.encode_video(video))
        torch.testing.assert_close(loaded.encode_text(NAMES), model.encode_text(NAMES))


def test_resumed_run_equals_uninterrupted_run_exactly(world: Path, tmp_path: Path) -> None:
    whole, stopped = (towers_config(world, tmp_path / name, ema_decay=0.9) for name in ("whole", "stopped"))
    Trainer(whole).fit()
    train_until(stopped, step=3)
    Trainer(stopped).fit()
    for file in ("checkpoints/step_00000006.safetensors", "model/backbone/model.safetensors"):
        first, second = (load_file(tmp_path / name / file) for name in ("whole", "stopped"))
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], value) for name, value in second.items())
    assert json.loads((tmp_path / "whole" / "model" / "config.json").read_text())["model"]["train"] == "both"
