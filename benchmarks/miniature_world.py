"""Accuracy on the miniature world over seeds, with each kind of prompt left out in turn. Synthetic data.

    python benchmarks/miniature_world.py --out ablation                      the demo's short training
    python benchmarks/miniature_world.py --out long --variants full --steps 1200 --train-clips 12

A finished (variant, seed) is kept in OUT and not run again.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

# One thread a process, said before torch is imported: two with more would stall each other.
os.environ["OMP_NUM_THREADS"] = "1"

from vitaclip.config import DemoConfig, ModelConfig
from vitaclip.files import write_json
from vitaclip.miniature.demo import evaluate_stage, training_config, write_world
from vitaclip.model import VitaCLIP
from vitaclip.train.build import run_training
from vitaclip.train.loggers import Logger

VARIANTS: dict[str, Callable[[ModelConfig], ModelConfig]] = {
    "full": lambda model: model,
    "no summary": lambda model: replace(model, video=replace(model.video, summary=False)),
    "no local": lambda model: replace(model, video=replace(model.video, local=False)),
    "no global": lambda model: replace(model, video=replace(model.video, num_global=0)),
    "no text context": lambda model: replace(model, text=replace(model.text, num_context=0)),
    "text context alone": lambda model: replace(
        model, video=replace(model.video, num_global=0, local=False, summary=False, time=False)
    ),
}


class Silent:
    """Hears how a run is going and says nothing."""

    def start(self, what: str, total: int) -> Callable[[int], None]:
        """Nothing to show."""
        del what, total
        return lambda done: None

    def training_logger(self, steps: int) -> Logger:
        """A logger that drops everything."""
        del steps
        return SilentLogger()


class SilentLogger:
    """Drops metrics; the run folder has them in metrics.jsonl."""

    def log(self, step: int, metrics: object) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def run_one(task: tuple[str, int], out: Path, steps: int, train_clips: int) -> str:
    """Train and test one variant with one seed; leaves OUT/<variant>-<seed>/result.json."""
    variant, seed = task
    folder = out / f"{variant.replace(' ', '_')}-{seed}"
    if not (folder / "result.json").exists():
        demo = DemoConfig(out=str(out / f"world-{seed}"), seed=seed, steps=steps, train_clips=train_clips, test_clips=2)
        tests = write_world(demo, Silent())
        config = training_config(demo)
        model_config = VARIANTS[variant](config.model)
        config = replace(config, out=str(folder), model=model_config, data=replace(config.data, workers=0))
        frozen = VitaCLIP.from_backbone(model_config.backbone, num_frames=model_config.video.num_frames)
        before = evaluate_stage(frozen, tests, config, Silent(), "frozen")
        after = evaluate_stage(run_training(config), tests, config, Silent(), variant)
        write_json(folder / "result.json", {"before": asdict(before), "after": asdict(after)})
        shutil.rmtree(folder / "checkpoints")
    return f"{variant}, seed {seed}"


def print_table(out: Path, variants: list[str], seeds: list[int]) -> None:
    """Mean and standard deviation over the seeds, per cent."""
    columns = [(split, figure) for split in ("trained", "novel") for figure in ("top1", "appearance", "motion")]
    print("| | " + " | ".join(f"{split} {figure}" for split, figure in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for label, variant, stage in [("frozen CLIP", variants[0], "before"), *((v, v, "after") for v in variants)]:
        cells = []
        for split, figure in columns:
            files = [out / f"{variant.replace(' ', '_')}-{seed}" / "result.json" for seed in seeds]
            values = [100 * json.loads(file.read_text())[stage][split][figure] for file in files]
            cells.append(f"{statistics.mean(values):.1f} ± {statistics.pstdev(values):.1f}")
        print(f"| {label} | {' | '.join(cells)} |")


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=DemoConfig().steps)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, on one thread each")
    parser.add_argument("--train-clips", type=int, default=DemoConfig().train_clips)
    options = parser.parse_args()
    # Worlds first, one for each seed: runs that share one would write it twice.
    for seed in options.seeds:
        world = DemoConfig(
            out=str(options.out / f"world-{seed}"), seed=seed, train_clips=options.train_clips, test_clips=2
        )
        write_world(world, Silent())
    run = partial(run_one, out=options.out, steps=options.steps, train_clips=options.train_clips)
    tasks = [(variant, seed) for variant in options.variants for seed in options.seeds]
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        for done in pool.map(run, tasks):
            print("done:", done, flush=True)
    settings = f"{options.steps} steps, {options.train_clips} clips a class, {len(options.seeds)} seeds"
    print(f"\nSynthetic data. {settings}; mean ± standard deviation, %; {platform.machine()}\n")
    print_table(options.out, options.variants, options.seeds)


if __name__ == "__main__":
    main()
