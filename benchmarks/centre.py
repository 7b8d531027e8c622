"""When does a frame token without its mean over the clip (`model.centre`) help, and what does it cost? Synthetic data.

    python benchmarks/centre.py --out places

Trains with and without on a world in which places decide and motion does not: the eight motions are replaced by eight
states that hold for the whole clip (on the left, tiny, pointing right, ...), while another coordinate moves and may
mislead. `--keys` trains nothing: it tells how much of the local prompts differs between the frames of a clip where
attention meets them.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

# One thread, said before torch is imported: two processes with more would stall each other.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import torch.nn.functional as F
from miniature_world import say
from torch import Tensor, nn

from vitaclip.ablate.ablation import run_ablation, write_ablation
from vitaclip.ablate.variants import Claim, Variant
from vitaclip.backbones.loading import load_backbone
from vitaclip.files import write_text
from vitaclip.miniature import world
from vitaclip.miniature.demo import DemoConfig, motion_accuracies, training_config, world_list
from vitaclip.miniature.videos import encode_video
from vitaclip.model import VideoModel
from vitaclip.parts.config import ModelConfig

STATES = (
    *("on the left", "on the right", "at the top", "at the bottom"),
    *("huge", "tiny", "pointing right", "pointing left"),
)
"""What is true of the whole clip, in the order of the motions that would end there."""
PARTNER = {world.X: world.ANGLE, world.ANGLE: world.X, world.Y: world.LOG_RADIUS, world.LOG_RADIUS: world.Y}
"""The coordinate that moves while another one tells the state."""
NOTE = (
    "Synthetic data: shapes in eight states that hold for the whole clip, while another coordinate moves; {clips}"
    " training videos of each of 216 names, {steps} steps of 24 clips."
)


def render_state(seed: int, class_id: int, index: int) -> np.ndarray:
    """A clip (F, H, W, 3) of a class whose motion stands for the state at its end."""
    colour, shape, motion = world.class_parts(class_id)
    rng = np.random.default_rng([seed, class_id, index, 1])
    scene = world.draw_scene(rng, colour, shape)
    scene = replace(scene, rest_time=np.full(4, 0.5))
    times = world.frame_times(world.FRAME_COUNT)
    told = world.MOTION_COORDINATE[motion]
    moving = PARTNER[told]
    poses = np.tile(scene.rest, (len(times), 1))
    poses[:, told] += world.MOTION_SIGN[motion] * 0.5 * scene.travel[told]
    poses[:, moving] += rng.choice([-1.0, 1.0]) * (times - 0.5) * scene.travel[moving]
    return world.render_frames(scene, poses)


def write_states(folder: Path, clips: int) -> None:
    """The videos, `train.csv`, `test_trained.csv`, `test_novel.csv` and the lists of their names."""
    if (folder / "test_novel.csv").exists():
        return
    named = {name: f"{world.appearance_of(name)} {STATES[i % 8]}" for i, name in enumerate(world.class_names())}
    splits = {"train": (world.trained_classes(), clips, 0), "test_trained": (world.trained_classes(), 2, 1000)}
    for split, (names, count, first) in (splits | {"test_novel": (world.novel_classes(), 6, 1000)}).items():
        rows = []
        for name in names:
            for index in range(count):
                path = folder / split / f"{named[name]} {index}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                encode_video(path, render_state(0, world.class_id_of(name), first + index))
                rows.append(f"{path.resolve()},{named[name]}\n")
        write_text(folder / f"classes_{split.removeprefix('test_')}.txt", "".join(f"{named[n]}\n" for n in names))
        write_text(folder / f"{split}.csv", "".join(rows))


def study_states(out: Path, seeds: list[int], steps: int, clips: int) -> None:
    """Train with and without on the world of states; writes and prints the table."""
    write_states(out / "world", clips)
    config = training_config(DemoConfig(out=str(out), steps=steps))
    data = replace(config.data, train=str(out / "world/train.csv"), classes=str(out / "world/classes_trained.txt"))
    config = replace(config, out=str(out), data=replace(data, workers=0))
    tests = [world_list(out / "world", name, f"classes_{name}.txt") for name in ("trained", "novel")]
    variants = [Variant(name="frozen", trains=False, overrides={"model.context": {}, "model.head": "templates"})]
    variants += [
        Variant(name=name, overrides={"model.centre": centre})
        for name, centre in (("published_token", False), ("centred", True))
    ]
    claims = [
        Claim(says=f"centring helps, {figure}", better="centred", than="published_token", figure=figure)
        for figure in ("top1", "appearance")
    ]
    result = run_ablation(config, variants, seeds, tests, claims, figures=motion_accuracies, on_done=say)
    print(write_ablation(out, result, NOTE.format(clips=clips, steps=steps)).read_text(encoding="utf-8"))


def study_keys() -> None:
    """How much of the local prompts differs between the frames of a clip where attention meets them, untrained."""
    ids = range(0, len(world.class_names()), 6)
    frames = np.stack([world.render_video(0, class_id, 0)[::3] for class_id in ids])
    pixels = torch.from_numpy(frames).permute(0, 1, 4, 2, 3).flatten(0, 1).float()
    pixels = F.interpolate(pixels, 64, mode="bilinear", antialias=True).round().byte().unflatten(0, frames.shape[:2])
    columns: list[list[float]] = []
    for centre in (False, True):
        model = VideoModel(load_backbone("miniature"), ModelConfig(centre=centre))
        inputs: list[float] = []
        prompts: list[float] = []
        for place, block in zip(model.context.blocks, model.backbone.vision.blocks, strict=True):

            def see_input(_module: nn.Module, given: tuple[Tensor], into: list[float] = inputs) -> None:
                into.append(share_between_frames(given[0]))

            def see_prompts(_module: nn.Module, _given: object, made: Tensor, norm: nn.Module = block.norm1) -> None:
                prompts.append(share_between_frames(norm(made[:, 0])))  # noqa: B023  # called in this round alone

            place.cls_proj.register_forward_pre_hook(see_input)
            place.local.register_forward_hook(see_prompts)
        with torch.inference_mode():
            model.encode_video(pixels)
        columns += [inputs, prompts]
    print("| block | frame tokens | normed local prompts, published token | centred |\n|---|---|---|---|")
    for block, (tokens, published, _, centred) in enumerate(zip(*columns, strict=True)):
        print(f"| {block} | {tokens:.1%} | {published:.1%} | {centred:.1%} |")


def share_between_frames(tokens: Tensor) -> float:
    """How much of the squares of (B, T, C) is left without their mean over the frames."""
    return float((tokens - tokens.mean(dim=1, keepdim=True)).square().sum() / tokens.square().sum())


def main() -> None:
    """Train and test, or tell of the keys."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("places"))
    parser.add_argument("--keys", action="store_true", help="compare the prompts that attention meets; trains nothing")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--train-clips", type=int, default=6, help="training videos of each name")
    options = parser.parse_args()
    if options.keys:
        study_keys()
    else:
        study_states(options.out, options.seeds, options.steps, options.train_clips)


if __name__ == "__main__":
    main()
