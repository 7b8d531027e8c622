"""What a machine of two cores can train: a step of ViT-L/14 with the micro-batch that `--auto-batch` chooses, and the
way from 500 clips of 4 classes to a model, as commands that a user types: the start of Python counts.

The clips are synthetic: the miniature world's, with the CLIP that comes with the package, which has seen its still
pictures. Of each run: wall time, processor time of all its processes, top-1 of 100 clips that were not trained on.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import full_size
import timing
import torch

from vitaclip.miniature.videos import encode_video
from vitaclip.miniature.world import class_id_of, render_video
from vitaclip.runtime import RuntimeConfig, keep_freed_memory, pick_precision
from vitaclip.training.memory import peak_bytes, peak_growth, reset_peak

CLASSES = {
    "things": ("red moon moving left", "blue fish moving left", "green key moving left", "red fish moving left"),
    "motions": tuple(f"red moon moving {way}" for way in ("left", "right", "up", "down")),
}
"""Four things that move alike, and one that moves in four ways."""
RUNS = (("coop", "things"), ("linear_probe", "things"), ("evl", "motions"), ("own_videos", "motions"))
"""Recipes, and what they learn; the first three leave the towers as they are, so that features are kept."""


def step_of_large(clips: int, small: bool) -> dict[str, object]:
    """Print and return what a step of ViT-L/14 takes, 8 frames, 400 classes with a context each."""
    model = full_size.build_model(size="l14", small=small)
    batch = full_size.random_batch(model, clips)
    trainer = full_size.trainer_of(model, clips, 0, RuntimeConfig(device="cpu"))
    said = list[str]()
    trainer.on_auto_batch = said.append
    reset_peak(model.device)
    wall, cpu = time.perf_counter(), time.process_time()
    trainer.choose_micro_batch(batch)
    tried = time.perf_counter() - wall, time.process_time() - cpu
    wall, cpu = time.perf_counter(), time.process_time()
    extra = peak_growth(model.device, lambda: trainer.train_step(batch))
    step = time.perf_counter() - wall, time.process_time() - cpu
    precision = pick_precision(trainer.config.runtime, model.device)
    print(f"\nViT-L/14, 8 frames, 400 classes, {precision}, {torch.get_num_threads()} threads; {said[0]}\n")
    print("| | wall s | CPU s |\n|---|---:|---:|")
    print(f"| trying | {tried[0]:.1f} | {tried[1]:.1f} |\n| a step of {clips} clips | {step[0]:.1f} | {step[1]:.1f} |")
    whole = peak_bytes(model.device)
    print(f"\npeak of the process {whole / 2**30:.1f} GiB, of the step over the model {extra / 2**30:.1f} GiB")
    return {"said": said[0], "trying": tried, "step": step, "clips": clips, "extra_bytes": extra, "peak_bytes": whole}


def write_miniature(folder: Path, names: tuple[str, ...], clips: int) -> None:
    """`train/` and `test/` with a folder for each class: so many clips together, and a fifth as many."""
    for split, count, first in (("train", clips // 4, 0), ("test", clips // 20, 1_000_000)):
        for name in names:
            place = folder / split / name.replace(" ", "_")
            place.mkdir(parents=True)
            for number in range(count):
                encode_video(place / f"{number}.mp4", render_video(0, class_id_of(name), first + number))


def run_command(recipe: str, videos: Path, out: Path, *options: str) -> tuple[float, float, float]:
    """Wall and processor seconds of one training command, and its top-1 on the clips held out."""
    command = [sys.executable, "-m", "vitaclip", "train", recipe, "--data.train", str(videos / "train"), "--auto-batch"]
    command += ["--data.val", str(videos / "test"), "--out", str(out), *options]
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = (out / "metrics.jsonl").read_text().splitlines()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, json.loads(lines[-1])["val/top1"]


def runs_of_commands(clips: int, steps: int, folder: Path) -> dict[str, tuple[float, float, float]]:
    """Print the table of all training commands."""
    for name, classes in CLASSES.items():
        write_miniature(folder / name, classes, clips)
    print(f"\n{clips} clips of 4 classes, {steps} steps of 16\n")
    print("| recipe | classes | from | wall s | CPU s | top-1 |\n|---|---|---|---:|---:|---:|")
    found = {}
    for recipe, classes in RUNS:
        options = ["--model.backbone", "miniature", f"--optim.steps={steps}", "--optim.learning_rate=3e-3"]
        is_kept = recipe != "own_videos"
        options += ["--data.feature_cache", str(folder / f"features_{recipe}")] * is_kept
        for seed, source in enumerate(("files, decoded", "kept features")[: 1 + is_kept]):
            run = run_command(recipe, folder / classes, folder / f"{recipe}_{seed}", *options, f"--seed={seed}")
            found[f"{recipe}, {classes}, {source}"] = run
            print(f"| `{recipe}` | {classes} | {source} | {run[0]:.1f} | {run[1]:.1f} | {run[2]:.1%} |", flush=True)
    return found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=("large", "commands"), default=["large", "commands"])
    parser.add_argument("--large-clips", type=int, default=4, help="of a step of ViT-L/14")
    parser.add_argument("--clips", type=int, default=500, help="to train on, of four classes")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--small", action="store_true", help="a model of next to no size in place of ViT-L/14")
    timing.add_out(parser)
    options = parser.parse_args()
    keep_freed_memory()
    print(timing.machine())
    found: dict[str, object] = {}
    if "large" in options.parts:
        found["large"] = step_of_large(options.large_clips, options.small)
    if "commands" in options.parts:
        with tempfile.TemporaryDirectory() as name:
            found["commands"] = runs_of_commands(options.clips, options.steps, Path(name))
    if options.out:
        timing.write_figures(options.out, {k: v for k, v in vars(options).items() if k != "out"}, found)


if __name__ == "__main__":
    main()
