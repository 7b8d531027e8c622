"""Models of full size with random weights, and random pixels: speed does not depend on what they are.

Axes: B videos, T frames, H x W pixels, K classes.
"""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

import torch
from published import PublishedModel, score_video
from published import train_step as published_step
from torch import Tensor
from torch.optim import AdamW

from vitaclip.backbones.config import CLIPConfig, TextConfig, VisionConfig
from vitaclip.backbones.loading import Backbone
from vitaclip.backbones.model import CLIP
from vitaclip.backbones.tokenizer import Tokenizer, read_vocabulary
from vitaclip.catalog import load_dataset_classes
from vitaclip.data.config import DataConfig
from vitaclip.data.loading.loader import TrainBatch
from vitaclip.evaluation.scoring import ViewEncoder, fuse_views
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig
from vitaclip.parts.heads.learned_text import lay_out
from vitaclip.runtime import RuntimeConfig, autocast
from vitaclip.training.config import OptimConfig, TrainConfig
from vitaclip.training.optim import build_optimizer
from vitaclip.training.trainer import Trainer

SIZES = {"b32": (32, 768, 12, 512), "b16": (16, 768, 12, 512), "l14": (14, 1024, 24, 768)}
"""ViT-B/32, ViT-B/16 and ViT-L/14: patch, image width and depth, text width."""


def class_names(count: int) -> tuple[str, ...]:
    """The 400 names of Kinetics-400; beyond those the same again with a number behind."""
    names = load_dataset_classes("kinetics400").names
    return tuple(names[i % len(names)] + (f" {i // len(names)}" if i >= len(names) else "") for i in range(count))


def build_model(
    *,
    classes: int = 400,
    frames: int = 8,
    num_global: int = 8,
    num_context: int = 8,
    image_size: int = 224,
    small: bool = False,
    prompts: bool = True,
    size: str = "b16",
) -> VideoModel:
    """A CLIP (`SIZES`) with a context for each class; `small`: one of next to no size, to try a benchmark out."""
    torch.manual_seed(0)
    patch_size, width, depth, text_width = (16, 64, 2, 64) if small else SIZES[size]
    vision = VisionConfig(image_size=image_size, patch_size=patch_size, width=width, depth=depth, heads=width // 64)
    text_depth = 2 if small else 12
    text = TextConfig(vocab_size=49408, context_length=77, width=text_width, depth=text_depth, heads=text_width // 64)
    clip = CLIP(CLIPConfig(vision=vision, text=text, embed_dim=text_width)).eval()
    backbone = Backbone(clip, Tokenizer(read_vocabulary()), "random", "random")
    config = ModelConfig(backbone="random", num_frames=frames, context={}, head="templates")
    if prompts:
        kinds = {"global": {"count": num_global}, "local": {}, "summary": {}, "time": {}}
        head = {"name": "learned_text", "num_context": num_context, "per_class": True}
        config = replace(config, context=kinds, centre=False, head=head)
    return VideoModel(backbone, config, class_names(classes))


def random_pixels(*leading: int, size: int = 224) -> Tensor:
    """uint8 (*leading, 3, size, size)."""
    return torch.randint(0, 256, (*leading, 3, size, size), dtype=torch.uint8)


def random_batch(model: VideoModel, batch_size: int) -> TrainBatch:
    """As the loader gives it."""
    video = random_pixels(batch_size, model.config.num_frames, size=model.image_size)
    labels = torch.arange(batch_size) % len(model.class_names)
    return TrainBatch(0, video, labels, tuple(range(batch_size)), ())


def trainer_of(model: VideoModel, batch_size: int, micro_batch_size: int, runtime: RuntimeConfig) -> Trainer:
    """A trainer in a temporary folder, whose miniature model is replaced by this one."""
    folder = Path(mkdtemp())
    video = folder / "videos" / "class" / "video.mp4"
    video.parent.mkdir(parents=True)
    video.write_bytes(b"never read")
    optim = OptimConfig(batch_size=batch_size, micro_batch_size=micro_batch_size)
    data = DataConfig(train=str(folder / "videos"), workers=0)
    trainer = Trainer(TrainConfig(out=str(folder / "run"), data=data, optim=optim, runtime=runtime))
    trainer.model, trainer.optimizer = model, build_optimizer(model, optim)
    return trainer


def text_lengths(model: VideoModel) -> list[int]:
    """Tokens of each prompt, start and end included."""
    layout = lay_out(
        model.class_names, model.backbone.tokenizer, model.head.config, model.backbone.config.text.context_length
    )
    return (layout.end + 1).tolist()


class Ours:
    """The package's way to train a step and to test a video."""

    def __init__(self, model: VideoModel, batch: TrainBatch, micro_batches: int, runtime: RuntimeConfig) -> None:
        self.model, self.batch = model.prepare(runtime), batch
        self.runtime, self.autocast = runtime, partial(autocast, runtime, model.device)
        self.trainer = trainer_of(model, len(batch.labels), len(batch.labels) // micro_batches, runtime)
        with torch.no_grad(), self.autocast():
            self.text_features = model.encode_text(model.class_names)

    def train(self) -> None:
        """One step."""
        self.trainer.train_step(self.batch)

    def test(self, views: Tensor) -> None:
        """One video, uint8 (V, T, 3, H, W); the text features are there, as in an evaluation."""
        self.model.eval()
        features = ViewEncoder(self.model, runtime=self.runtime).encode(views[None]).to(self.model.device)
        fuse_views(self.model, features, self.text_features)


class Published:
    """The published way to do the same."""

    def __init__(self, model: VideoModel, batch: TrainBatch, micro_batches: int, runtime: RuntimeConfig) -> None:
        self.model = PublishedModel(model, model.class_names)
        self.normalize = model.backbone.normalize_pixels
        self.device, self.autocast = model.device, partial(autocast, runtime, model.device)
        self.batch, self.micro_batches = batch, micro_batches
        self.optimizer = AdamW([p for p in self.model.parameters() if p.requires_grad], lr=4e-4, weight_decay=0.05)

    def train(self) -> None:
        """One step; as published the whole batch is on the device, normalised."""
        self.model.train()
        video = self.normalize(self.batch.video.to(self.device))
        labels = self.batch.labels.to(self.device)
        published_step(self.model, self.optimizer, video, labels, self.micro_batches, self.autocast)

    def test(self, views: Tensor) -> None:
        """One video, uint8 (V, T, 3, H, W)."""
        self.model.eval()
        score_video(self.model, self.normalize(views.to(self.device)), self.autocast).cpu()


PROCEDURES: dict[str, type[Ours] | type[Published]] = {"ours": Ours, "published": Published}


def assert_equal_logits() -> None:
    """Both procedures compute the same before they are timed: logits in float64 (gradients: tests/benchmarks).

    Raises:
        SystemExit: if they do not.
    """
    model = build_model(classes=5, frames=2, image_size=32, small=True).double()
    video = random_pixels(2, 2, size=32)
    with torch.no_grad():
        ours = model(video, model.encode_text(model.class_names))
        published = PublishedModel(model, model.class_names)(model.backbone.normalize_pixels(video))
    difference = float((ours - published).abs().max() / ours.abs().max())
    print(f"logits of both procedures, small model, float64: {difference:.0e} apart")
    if not difference < 1e-10:
        sys.exit("they compute different things: no comparison")
