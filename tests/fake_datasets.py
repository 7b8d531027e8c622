"""Small fakes of the standard data sets: lists with real tiny videos, and a tiny CLIP that knows the classes' words."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from miniature_clip.vocabulary import learn_tokenizer
from tiny import all_kinds, learned_text, tiny_clip_config
from video_files import write_video
from vitaclip.backbones.loading import load_backbone, save_backbone
from vitaclip.backbones.model import CLIP
from vitaclip.catalog import load_dataset_classes
from vitaclip.data.config import SamplingConfig
from vitaclip.data.loading.clips import EvalViews
from vitaclip.data.sampling import frame_sampling
from vitaclip.files import csv_text
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig

DATASETS = ("kinetics600", "ssv2", "ucf101", "hmdb51")
CLIPS = 18
SEEDS = (1, 2, 3, 4, 8, 16)
"""Of the models; protocols call them by seed, split or shots."""


class FakeClip(NamedTuple):
    """A video of a fake data set."""

    path: str
    class_name: str


def write_fake_datasets(folder: Path) -> Path:
    """`backbone/`, random models `runs/<seed>/model`, and for each data set a folder of lists and class folders."""
    write_words_backbone(folder / "backbone")
    models = [save_fake_model(folder / "runs" / str(n) / "model", folder / "backbone", n) for n in SEEDS]
    for n in range(CLIPS):
        write_video(folder / f"clip{n}.mp4", frames=10 + n, width=24, height=20, seed=n)
    for dataset in DATASETS:
        root = folder / dataset
        clips = _fake_clips(dataset, folder, models[:2])
        for n, clip in enumerate(clips):
            (root / clip.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / f"clip{n}.mp4", root / clip.path)
        if dataset in ("ucf101", "hmdb51"):
            for split in (1, 2, 3):
                # As in the official splits, what one tests on another trains on.
                write_list(root / f"test{split}.csv", [clip for n, clip in enumerate(clips) if n % 3 == split - 1])
                write_list(root / f"train{split}.csv", [clip for n, clip in enumerate(clips) if n % 3 != split - 1])
        else:
            write_list(root / "val.csv", clips[:14])
            write_list(root / "train.csv", clips[14:])
            for split in (1, 2, 3):
                write_list(root / f"zeroshot{split}.csv", clips[split - 1 : split + 13])
    return folder


@torch.no_grad()
def _fake_clips(dataset: str, folder: Path, models: list[VideoModel]) -> list[FakeClip]:
    """Clips of classes from all over the data set; the first six are of the class that a model sees in them."""
    classes = load_dataset_classes(dataset)
    chosen = [n * (len(classes.names) // CLIPS) for n in range(CLIPS)]
    for which, model in enumerate(models):
        text, sampling = model.encode_text(classes.prompts), frame_sampling(model.config.sampling, 4)
        for n in range(3 * which, 3 * which + 3):
            views = EvalViews(sampling, 2, 1, model.image_size).read(folder / f"clip{n}.mp4")
            chosen[n] = int(model(views, text).softmax(dim=1).mean(dim=0).argmax())
    names = [classes.names[number] for number in chosen]
    if dataset == "hmdb51":  # two of the four classes whose wording is swapped as published
        names[6], names[7] = "kick", "sword_exercise"
    return [FakeClip(f"videos/{name.replace(' ', '_')[:40]}/v {n}.mp4", name) for n, name in enumerate(names)]


def write_words_backbone(folder: Path) -> Path:
    """A tiny CLIP to which every word of the data sets' classes is a token of its own."""
    names = [prompt for dataset in DATASETS for prompt in load_dataset_classes(dataset).prompts]
    tokenizer = learn_tokenizer(["a video of .", *names])
    config = tiny_clip_config()
    config = replace(config, text=replace(config.text, vocab_size=tokenizer.vocab_size))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = CLIP(config).eval()
        torch.nn.init.normal_(clip.text.token_embed.weight)
        for block in [*clip.vision.blocks, *clip.text.blocks]:
            for parameter in block.parameters():
                if parameter.dim() > 1:
                    parameter.data *= 3
    save_backbone(clip, tokenizer, folder)
    return folder


def write_list(file: Path, clips: list[FakeClip]) -> None:
    """A list as the package writes them: quoted path and class name."""
    file.write_text(csv_text(clips), "utf-8")


def save_fake_model(
    folder: Path, backbone: Path, seed: int, names: tuple[str, ...] = (), per_class: bool = True
) -> VideoModel:
    """A model folder with random prompts that differ with the seed."""
    config = ModelConfig(
        backbone=str(backbone),
        num_frames=4,
        context=all_kinds(2),
        head=learned_text(3, per_class=per_class and bool(names)),
        sampling=SamplingConfig(stride=2),
    )
    model = VideoModel(load_backbone(str(backbone)), config, names, seed).eval()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        for parameter in model.trainable_parameters().values():
            if parameter.dim() > 0:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model
