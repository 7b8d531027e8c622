"""Model folders and run folders of the version before the parts: written by hand in its terms, then loaded."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from small_world import NAMES, changed, train_config, train_until
from tiny import learned_text
from vitaclip.backbones.loading import load_backbone
from vitaclip.model import VideoModel
from vitaclip.saving.model_folder import upgrade_model_config
from vitaclip.training.checkpoint import Checkpoint, CheckpointStore
from vitaclip.training.trainer import Trainer

# Today's names, and what they were.
OLD = (
    ("context.input.time.embed", "video.time_embed"),
    (".global.prompts", ".global_prompts"),
    (".local.prompts", ".local_prompts"),
    (".summary.norm.", ".summary_norm."),
    (".summary.attention.", ".summary_attention."),
    ("context.blocks.", "video.blocks."),
    ("head.logit_scale", "logit_scale"),
    ("head.context", "text.context"),
)


def old_name(name: str) -> str:
    for today, before in OLD:
        name = name.replace(today, before)
    return name


def old_settings(today: dict[str, Any]) -> dict[str, Any]:
    """The settings of `train_config`'s model as they were written."""
    kept = {name: today[name] for name in ("backbone", "image_size", "sampling")}
    video = {"num_frames": 4, "num_global": 2, "local": True, "summary": True, "time": True, "train_cls_proj": True}
    text = {"num_context": 3, "per_class": False, "class_token_position": "end", "init_words": "", "linear": False}
    return {**kept, "video": video, "text": text | {"templates": ["a video of {}."]}, "train_towers": False}


def test_model_folders_load(world: Path, tmp_path: Path) -> None:
    config = replace(train_config(world, tmp_path).model, centre=False)
    model = VideoModel(load_backbone(config.backbone), config, NAMES, seed=3).eval()
    folder = model.save_pretrained(tmp_path / "model")
    values = load_file(folder / "prompts.safetensors")
    save_file({old_name(name): value for name, value in values.items()}, folder / "prompts.safetensors")
    written = json.loads((folder / "config.json").read_text())
    written["model"] = old_settings(written["model"])
    del written["sha256"]
    (folder / "config.json").write_text(json.dumps(written))
    loaded = VideoModel.from_pretrained(folder)
    assert loaded.config == config
    assert all(torch.equal(loaded.adapter_state()[name], value) for name, value in values.items())


def test_run_folders_go_on_to_the_same_bits(world: Path, tmp_path: Path) -> None:
    whole = Trainer(changed(train_config(world, tmp_path / "whole"), model={"centre": False}))
    whole.train()
    config = changed(train_config(world, tmp_path / "run"), model={"centre": False})
    train_until(config, 3)
    store = CheckpointStore(tmp_path / "run" / "checkpoints", 2)
    found, _ = store.newest()
    tensors = {}
    for name, value in found.tensors.items():
        under = "prompts." if not name.startswith("optimizer.") else ".".join(name.split(".")[:2]) + "."
        tensors[under + old_name(name.removeprefix(under))] = value
    notes = json.loads(json.dumps(found.notes))
    notes["config"]["model"] = old_settings(notes["config"]["model"])
    store.save(Checkpoint(found.step, tensors, notes))
    trainer = Trainer(config)
    assert trainer.step == found.step
    trainer.train()
    ours, expected = (each.model.adapter_state() for each in (trainer, whole))
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("old", "now"),
    [
        ({"train_towers": True}, {"train": "both", "head": learned_text(8)}),
        ({"text": {"num_context": 0}}, {"head": {"name": "templates"}, "train": "none"}),
        ({"text": {"linear": True}, "train_towers": True}, {"head": {"name": "linear"}, "train": "image"}),
        ({"video": {"num_global": 0, "time": False}}, {"context": {"local": {}, "summary": {}}}),
        ({"num_frames": 16}, {"num_frames": 16}),
    ],
)
def test_settings_are_those_of_today(old: dict[str, Any], now: dict[str, Any]) -> None:
    upgraded = upgrade_model_config(old)
    assert {name: upgraded[name] for name in now} == now
