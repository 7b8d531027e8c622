"""Seconds of whole training runs of a text context: on pixels, with a feature cache that is empty, and with it filled.

Synthetic videos of ten seconds, 340 x 256 pixels; a CLIP of the shape of ViT-B/16 with random weights (its text tower
with the miniature's small vocabulary). `--shape miniature` takes the shipped one. Each run is a command of its own, as
a user types it: the start of Python counts.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import clips
import timing

from vitaclip.backbones.config import CLIPConfig, TextConfig, VisionConfig
from vitaclip.backbones.loading import load_backbone, save_backbone
from vitaclip.backbones.model import CLIP

PLAIN = [f"--model.video.{setting}" for setting in ("num_global=0", "local=false", "summary=false", "time=false")]


def write_vitb16(folder: Path) -> Path:
    """A CLIP of that shape, untrained."""
    tokenizer = load_backbone("miniature").tokenizer
    vision = VisionConfig(image_size=224, patch_size=16, width=768, depth=12, heads=12)
    text = TextConfig(vocab_size=tokenizer.vocab_size, context_length=77, width=512, depth=12, heads=8)
    return save_backbone(CLIP(CLIPConfig(vision=vision, text=text, embed_dim=512)), tokenizer, folder)


def write_videos(folder: Path, classes: int, videos: int) -> Path:
    """A folder of so many videos for each class; their content says nothing of it."""
    for number in range(classes * videos):
        clip = replace(clips.SHORT[number % len(clips.SHORT)], name=str(number), seed=number)
        clips.make(clip, folder / f"class_{number % classes}")
    return folder


def seconds_of(backbone: str, videos: Path, out: Path, *options: str) -> float:
    """Wall time of one training command."""
    command = [sys.executable, "-m", "vitaclip", "train", "--config", "own_videos", "--model.backbone", backbone]
    command += ["--data.train", str(videos), "--data.augment.crop_scale", "[1,1]", *PLAIN, "--out", str(out), *options]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=("vitb16", "miniature"), default="vitb16")
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--videos", type=int, default=4, help="of each class")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch_size", type=int, default=8)
    timing.add_out(parser)
    given = parser.parse_args()
    print(f"{given.shape}, {given.steps} steps of {given.batch_size} of {given.classes} x {given.videos} videos\n")
    print("| run | seconds |\n|---|---:|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        backbone = "miniature" if given.shape == "miniature" else str(write_vitb16(folder / "backbone"))
        videos = write_videos(folder / "videos", given.classes, given.videos)
        size = [f"--optim.steps={given.steps}", f"--optim.batch_size={given.batch_size}"]
        cache = ["--data.feature_cache", str(folder / "cache")]
        runs = {"on pixels": size, "with a feature cache, first": size + cache, "again, another seed": size + cache}
        found: dict[str, float] = {}
        for seed, (run, options) in enumerate(runs.items()):
            found[run] = seconds_of(backbone, videos, folder / run, *options, f"--seed={seed}")
            print(f"| {run} | {found[run]:.1f} |", flush=True)
    if given.out:
        settings = {name: value for name, value in vars(given).items() if name != "out"}
        timing.write_figures(given.out, settings, {"seconds": found})


if __name__ == "__main__":
    main()
