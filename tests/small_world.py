"""A few real video files of the miniature world with a tiny random backbone: enough to train and test on in seconds."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tiny import all_kinds, learned_text, tiny_backbone
from vitaclip.backbones.loading import load_backbone, save_backbone
from vitaclip.data.config import AugmentConfig, DataConfig, SamplingConfig, ViewsConfig
from vitaclip.data.loading.loader import TrainBatch
from vitaclip.miniature.videos import encode_video
from vitaclip.miniature.world import render_video
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig
from vitaclip.training.config import OptimConfig, TrainConfig
from vitaclip.training.trainer import Trainer

NAMES = ("jump up", "moving left", "moving right")
CLIPS_PER_CLASS = 4
Refusal = Callable[..., str]
"""Runs a command that ends with an error, see `refusal` in conftest.py."""


def write_small_world(folder: Path) -> Path:
    """`backbone/`, and `videos/<class>/<n>.mp4`: 48 px, 12 frames each."""
    backbone = tiny_backbone()
    save_backbone(backbone.clip, backbone.tokenizer, folder / "backbone")
    for label, name in enumerate(NAMES):
        for n in range(CLIPS_PER_CLASS):
            path = folder / "videos" / name.replace(" ", "_") / f"{n}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            encode_video(path, render_video(0, 56 * label, n, 48, 12))  # another colour and shape a class
    return folder


def train_config(world: Path, out: Path, **optim: float) -> TrainConfig:
    """Six steps of four clips; no worker process."""
    return TrainConfig(
        out=str(out),
        model=ModelConfig(
            backbone=str(world / "backbone"),
            num_frames=4,
            context=all_kinds(2),
            head=learned_text(3),
            sampling=SamplingConfig(stride=2),
        ),
        data=DataConfig(train=str(world / "videos"), workers=0, augment=AugmentConfig(crop_scale=(0.5, 1.0), flip=0.5)),
        optim=replace(OptimConfig(steps=6, batch_size=4, learning_rate=1e-2), **optim),  # type: ignore[arg-type]
        views=ViewsConfig(temporal=2),
        log_every=1,
        checkpoint_every=2,
    )


def small_model(world: Path, **values: Any) -> VideoModel:
    """A model for the small world with fresh prompts; its config has other values if they are given."""
    config = replace(train_config(world, world / "unused").model, **values)
    return VideoModel(load_backbone(config.backbone), config, NAMES).eval()


def changed(config: Any, **values: Any) -> Any:
    """A config with other values. Those of a config inside it are a dict: `changed(config, data={"shots": 2})`."""
    inner = {name: getattr(config, name) for name, value in values.items() if isinstance(value, dict)}
    deep = {name: changed(each, **values[name]) for name, each in inner.items() if is_dataclass(each)}
    return replace(config, **{**values, **deep})


def random_batch(clips: int = 4) -> TrainBatch:
    """Clips that fit the tiny backbone, as a step takes them."""
    generator = torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (clips, 4, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return TrainBatch(0, video, torch.arange(clips) % len(NAMES), tuple(range(clips)), ())


def prompts_of(out: str | Path) -> dict[str, Tensor]:
    """What a run has learned, from its model folder."""
    return load_file(Path(out) / "model" / "prompts.safetensors")


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether tensors are equal to the bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def lines_of(out: str | Path) -> list[dict[str, float]]:
    """The metrics of a run."""
    return [json.loads(line) for line in (Path(out) / "metrics.jsonl").read_text().splitlines()]


def write_list(file: Path, rows: Sequence[tuple[object, object]]) -> str:
    """A list file of paths and labels; its name."""
    file.write_text("".join(f"{path},{label}\n" for path, label in rows))
    return str(file)


def train_until(config: TrainConfig, step: int) -> None:
    """A run that is interrupted when a step is due."""
    interrupt_at(Trainer(config), step)


def interrupt_at(trainer: Trainer, step: int) -> None:
    """Trains until a step is due."""
    train_step = trainer.train_step

    def interrupted(batch: TrainBatch) -> dict[str, float]:
        if trainer.step == step:
            raise KeyboardInterrupt
        return train_step(batch)

    trainer.train_step = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
