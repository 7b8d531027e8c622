"""A few real video files of the miniature world with a tiny random backbone: enough to train and test on in seconds."""

from dataclasses import replace
from pathlib import Path

import pytest

from tiny import all_kinds, learned_text, tiny_backbone
from vitaclip.backbones.loading import save_backbone
from vitaclip.data import TrainBatch
from vitaclip.data.config import AugmentConfig, DataConfig, SamplingConfig, ViewsConfig
from vitaclip.miniature.videos import write_clip
from vitaclip.parts.config import ModelConfig
from vitaclip.train.config import OptimConfig, TrainConfig
from vitaclip.train.trainer import Trainer

NAMES = ("jump up", "moving left", "moving right")
CLIPS_PER_CLASS = 4


def write_small_world(folder: Path) -> Path:
    """`backbone/`, and `videos/<class>/<n>.mp4`: 48 px, 12 frames each."""
    backbone = tiny_backbone()
    save_backbone(backbone.clip, backbone.tokenizer, folder / "backbone")
    for label, name in enumerate(NAMES):
        for n in range(CLIPS_PER_CLASS):
            path = folder / "videos" / name.replace(" ", "_") / f"{n}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_clip(path, 0, 56 * label, n, 48, 12)  # another colour and shape a class
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
