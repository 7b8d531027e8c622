"""Training that starts from a trained model: what is taken over, what starts anew, what is refused."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from parity_case import published_names
from small_world import NAMES, changed, train_config
from vitaclip.backbones.families import evl
from vitaclip.distributed import SINGLE_PROCESS
from vitaclip.model import VideoModel
from vitaclip.training.config import TrainConfig
from vitaclip.training.inputs import build_model
from vitaclip.training.trainer import Trainer

EVL: dict[str, Any] = {"context": {}, "pool": {"name": "decode", "blocks": 2}, "head": "classifier"}
OTHERS = ("run", "sit")


def evl_config(world: Path, out: Path, **values: Any) -> TrainConfig:
    config: TrainConfig = changed(train_config(world, out, steps=2), model=EVL, **values)
    return config


def published_file(model: VideoModel, file: Path) -> str:
    """The model as EVL's code saves it: neither backbone nor class names."""
    state = published_names(model.adapter_state(), evl.TABLE)
    torch.save({"model": {f"module.{name}": value.clone() for name, value in state.items()}}, file)
    return str(file)


@pytest.mark.parametrize("published", [False, True])
def test_decoder_goes_on_for_other_classes(world: Path, tmp_path: Path, published: bool) -> None:
    """EVL's code dies of another number of classes."""
    trained = Trainer(evl_config(world, tmp_path / "run")).fit()
    init = published_file(trained, tmp_path / "evl.pth") if published else str(tmp_path / "run")
    fresh = build_model(evl_config(world, tmp_path), OTHERS, SINGLE_PROCESS).adapter_state()
    with pytest.warns(UserWarning, match=r"other classes.*head\.linear\.bias, head\.linear\.weight start anew"):
        started = build_model(evl_config(world, tmp_path, init=init), OTHERS, SINGLE_PROCESS)
    for name, value in started.adapter_state().items():
        anew = name.startswith("head.linear.")
        assert torch.equal(value, fresh[name] if anew else trained.adapter_state()[name]), name


def test_same_classes_keep_all_that_was_learned(world: Path, tmp_path: Path) -> None:
    trained = Trainer(evl_config(world, tmp_path / "run")).fit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        started = build_model(evl_config(world, tmp_path, init=str(tmp_path / "run")), NAMES, SINGLE_PROCESS)
    assert all(torch.equal(value, trained.adapter_state()[name]) for name, value in started.adapter_state().items())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"pool": {**EVL["pool"], "motion": False}}, r"others than those .* \['pool.time.0.motion.after'.*set model"),
        ({"num_frames": 6}, r"others than those of this config: \['pool.time.0.positions'"),
        ({"backbone": "miniature"}, r"init = .*run: trained on a backbone with fingerprint .* set model.backbone to"),
    ],
)
def test_other_parts_or_backbones_are_refused(world: Path, tmp_path: Path, model: dict[str, Any], message: str) -> None:
    Trainer(evl_config(world, tmp_path / "run")).fit()
    config = changed(evl_config(world, tmp_path, init=str(tmp_path / "run")), model=model)
    with pytest.raises(ValueError, match=message):
        build_model(config, NAMES, SINGLE_PROCESS)
