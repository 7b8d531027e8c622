"""Each method from training to a picture, and published checkpoints, on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from parity_case import published_names
from small_world import NAMES, Refusal
from vitaclip.backbones.families import evl
from vitaclip.backbones.loading import load_backbone
from vitaclip.cli import main
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig

SHALLOW = ("--model.pool.blocks", "2")
"""The decoder on a tower of two blocks."""
METHODS = {
    "evl": ("evl_k400_vitb16_8f", *SHALLOW),
    "evl zero-shot": ("evl_zero_shot", *SHALLOW),
    "evl of vita-clip": ("evl_vitaclip", *SHALLOW),
    "xclip": ("xclip_k400_vitb32_8f",),
    "vifi": ("vifi_k400",),
    "vifi prompted": (
        *("vifi_base_to_novel_prompted", "--data.shots", "0"),
        *("--model.context.deep_tokens.depth", "2", "--model.head.depth", "2"),
    ),
}


@pytest.mark.parametrize("method", METHODS)
def test_recipe_goes_from_training_to_a_picture(world: Path, tmp_path: Path, method: str, refusal: Refusal) -> None:
    recipe, *more = METHODS[method]
    backbone, run, video = str(world / "backbone"), str(tmp_path / "run"), str(world / "videos" / "jump_up" / "0.mp4")
    given: dict[str, Any] = {"data.train": world / "videos", "data.val": "", "data.classes": ", ".join(NAMES)}
    given |= {"model.backbone": backbone, "model.num_frames": 4, "data.workers": 0, "optim.batch_size": 4}
    given |= {"optim.steps": 2, "optim.epochs": 0, "optim.warmup_epochs": 0, "optim.micro_batch_size": 3, "out": run}
    options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    assert main(["train", recipe, *options, *more]) == 0
    evaluation = ["eval", str(world / "videos"), "--model", run, "--views.temporal", "1", "--data.workers", "0"]
    assert main([*evaluation, "--out", str(tmp_path / "eval.json")]) == 0
    assert 0 <= json.loads((tmp_path / "eval.json").read_text())["top1"] <= 1
    new_names = ["predict", video, "--model", run, "--classes", "run, sit"]
    if method == "evl":
        assert "serves its own 3 classes alone: it never trained on 'run'" in refusal(*new_names)
    else:
        assert main(new_names) == 0
    assert main(["explain", video, "--model", run, "--out", str(tmp_path / "why"), "--views.temporal", "1"]) == 0
    why = json.loads((tmp_path / "why" / "0.json").read_text())
    assert all(-1.01 <= each["cosine"] <= 1.01 for each in why["candidates"])
    masses = torch.tensor([*why["attention"]["mass"].values()]).sum(dim=0)
    looks = "cls tokens" in why["attention"]["mass"]
    assert looks == method.startswith("evl")
    torch.testing.assert_close(masses.sum() if looks else masses, torch.ones(()) if looks else torch.ones(4))


def test_checkpoint_is_used_with_the_backbone_beside_it(world: Path, tmp_path: Path, refusal: Refusal) -> None:
    file, video = str(tmp_path / "evl.pth"), str(world / "videos" / "jump_up" / "0.mp4")
    config = ModelConfig(context={}, pool={"name": "decode", "blocks": 2}, head="classifier", num_frames=4)
    parts = VideoModel(load_backbone(world / "backbone"), config, NAMES).adapter_state()
    state = published_names(parts, evl.TABLE)
    torch.save({"model": {f"module.{name}": value.clone() for name, value in state.items()}}, file)
    classes, backbone = ("--classes", ", ".join(NAMES)), ("--backbone", str(world / "backbone"))
    assert "without the backbone they were trained on" in refusal("predict", video, "--model", file, *classes)
    assert "3 classes, but 0 class names were given" in refusal("predict", video, "--model", file, *backbone)
    assert "backbone of 16 channels and 2 patches" in refusal(
        "predict", video, "--model", file, *classes, "--backbone", "miniature"
    )
    for command in ("predict", "eval"):
        what = video if command == "predict" else str(world / "videos")
        assert main([command, what, "--model", file, *classes, *backbone, "--views.temporal", "1"]) == 0
    assert main(["convert", file, str(tmp_path / "model"), *classes, *backbone]) == 0
    assert VideoModel.from_pretrained(tmp_path / "model").class_names == NAMES
    assert "has its own" not in refusal("predict", video, "--model", str(tmp_path / "no.pth"), *backbone)
