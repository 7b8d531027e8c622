"""The paper's ablations and baselines on the miniature world. Synthetic data.

    python benchmarks/miniature_world.py --out ablation
    python benchmarks/miniature_world.py --out long --variants full --seeds 0 --part-clips 20 --steps 2000
    python benchmarks/miniature_world.py --out rates --variants-file benchmarks/miniature_rates.yaml --world-seed 7 \\
        --seeds 7

Writes one world, OUT/world, and calls what is behind `vitaclip ablate`. What a seed changes is the prompts' start and
the order of the videos. Finished runs are kept, and stopped ones go on: for several at a time, start it once with each
seed, then with all.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

# One thread, said before torch is imported: two processes with more would stall each other.
os.environ["OMP_NUM_THREADS"] = "1"

import av
import numpy as np

from vitaclip.ablate.ablation import RunResult, TestList, run_ablation, write_ablation
from vitaclip.ablate.variants import load_comparison
from vitaclip.files import write_text
from vitaclip.miniature import world
from vitaclip.miniature.demo import DemoConfig, motion_accuracies, training_config, world_list, write_world
from vitaclip.miniature.videos import TRAINED_FILE, clip_path, encode_video
from vitaclip.training.config import TrainConfig

PART_SHARES = (1 / 6, 1.5)
"""Least and most duration of a clip that shows a part of a motion, in durations of the motion."""
VARIANTS = Path(__file__).with_name("miniature_variants.yaml")


def say(run: TrainConfig, result: RunResult, found: bool) -> None:
    """A line for each run."""
    shares = ", ".join(f"{name} {figures['top1']:.1%}" for name, figures in result.values.items())
    print(f"{run.out}: {shares}{', was finished' if found else ''}", flush=True)


def describe(options: argparse.Namespace, batch_size: int) -> str:
    """What is above the table."""
    parts = f" and {options.part_clips} of a part of it" if options.part_clips else ""
    return (
        f"Synthetic data: the miniature world, {options.train_clips} training videos of each of 216 names{parts},"
        f" {options.steps} steps of {batch_size} clips. `trained`: other videos of these names; `novel`: 72 names never"
        " trained on; `reversed`: the videos of `trained` played backwards, with the opposite motion in their names."
        " Appearance is colour and shape. Motion is told with the appearance given: chance is 12.5."
    )


def add_world_options(parser: argparse.ArgumentParser) -> None:
    """What `prepare_world` reads, and the seeds of the runs."""
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--world-seed", type=int, default=0, help="another seed draws other videos")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--train-clips", type=int, default=12, help="training videos of each name")
    parser.add_argument("--part-clips", type=int, default=0, help="further ones, which show a part of the motion")


def prepare_world(options: argparse.Namespace) -> tuple[TrainConfig, list[TestList]]:
    """Write the world OUT/world, or find it there; returns what trains on it, with OUT as the folder of the runs, and
    the test lists: `trained`, `novel`, and `reversed`, the clips of `trained` played backwards. Only training videos
    show parts of motions."""
    demo = DemoConfig(
        out=str(options.out / "world"),
        seed=options.world_seed,
        steps=options.steps,
        train_clips=options.train_clips,
        test_clips=2,
    )
    tests = write_world(demo, lambda _what, _total: lambda _done: None)
    videos = options.out / "world/videos"
    write_reversed(videos, tests[0][1].class_names)
    if options.part_clips:
        write_parts(videos, tests[0][1].class_names, options.part_clips, options.world_seed)
    config = training_config(demo)
    config = replace(config, out=str(options.out), data=replace(config.data, workers=0))
    return config, [*tests, world_list(videos, "reversed", TRAINED_FILE)]


def write_reversed(videos: Path, names: Sequence[str]) -> None:
    """The clips of `test_trained.csv` played backwards, each with the name of the opposite motion."""
    if (videos / "test_reversed.csv").exists():
        return
    opposite = {name: names[number ^ 1] for number, name in enumerate(names)}  # motions stand in pairs
    rows = []
    for line in (videos / "test_trained.csv").read_text(encoding="utf-8").splitlines():
        clip, name = line.split(",")
        place = Path("test_reversed") / Path(clip).relative_to("test_trained")
        (videos / place).parent.mkdir(parents=True, exist_ok=True)
        encode_video(videos / place, read_frames(videos / clip)[::-1])
        rows.append(f"{place.as_posix()},{opposite[name]}\n")
    write_text(videos / "test_reversed.csv", "".join(rows))


def write_parts(videos: Path, names: Sequence[str], count: int, seed: int) -> None:
    """Add `count` clips of each name to `train.csv`, which show their motion as windows of a long video do: from a
    sixth of it to all of it and rests. The middle of a clip lies anywhere in the motion: half of it moves at least."""
    rows = []
    for name in names:
        colour, shape, motion = world.class_parts(world.class_id_of(name))
        (videos / "train_parts" / name.replace(" ", "_")).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            rng = np.random.default_rng([seed, world.class_id_of(name), number, 1])
            scene, share = world.draw_scene(rng, colour, shape), np.exp(rng.uniform(*np.log(PART_SHARES)))
            times = rng.uniform() + share * (world.frame_times(world.FRAME_COUNT) - 0.5)
            place = "train_parts" / clip_path(name, number)
            poses = world.motion_poses(scene, motion, times.clip(0, 1))
            encode_video(videos / place, world.render_frames(scene, poses))
            rows.append(f"{place.as_posix()},{name}\n")
    whole = (videos / "train.csv").read_text(encoding="utf-8")  # written anew each time
    write_text(videos / "train.csv", "".join([whole, *rows]))


def read_frames(path: Path) -> np.ndarray:
    """All frames of a file, (F, H, W, 3) uint8."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def main() -> None:
    """Run what is missing, and write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants-file", default=str(VARIANTS))
    parser.add_argument("--variants", nargs="+", default=[], help="some of the file's, or shipped ones")
    add_world_options(parser)
    options = parser.parse_args()
    config, tests = prepare_world(options)
    variants, claims = load_comparison(options.variants_file, options.variants)
    result = run_ablation(config, variants, options.seeds, tests, claims, figures=motion_accuracies, on_done=say)
    page = write_ablation(options.out, result, describe(options, config.optim.batch_size))
    print(page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
