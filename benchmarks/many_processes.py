"""One run on 1, 2 and 3 processes, in float64 and in float32: how far its weights and its loss are from those of 1.

Synthetic clips and a tiny random backbone; batches that neither the data set nor the processes divide, odd
micro-batches, MixUp, CutMix, a gradient limit, an average, validation.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import timing
import yaml
from safetensors.torch import load_file

import killing
import torchrun
from small_world import train_config, write_small_world
from vitaclip.runtime import RuntimeConfig
from vitaclip.settings import to_dict
from vitaclip.training.config import OptimConfig, TrainConfig

STEPS, BATCH_SIZE = 40, 11


def case(world: Path, out: Path) -> TrainConfig:
    """The run."""
    config = killing.hard_case(train_config(world, out), str(world / "videos"))
    optim = OptimConfig(steps=STEPS, batch_size=BATCH_SIZE, micro_batch_size=3, ema_decay=0.9, max_gradient_norm=0.5)
    data = replace(config.data, workers=1)
    return replace(config, data=data, optim=optim, runtime=RuntimeConfig(device="cpu", precision="float32"))


def losses(out: Path) -> list[float]:
    """The loss of every step."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["train/loss"] for line in lines if "train/loss" in line]


def train(world: Path, out: Path, precision: str, count: int) -> None:
    """Train on so many processes."""
    config = case(world, out)
    if precision == "float64":
        out.with_suffix(".json").write_text(json.dumps(to_dict(config)))
        program = [torchrun.__file__, str(out.with_suffix(".json"))]
    else:
        out.with_suffix(".yaml").write_text(yaml.safe_dump(to_dict(config)))
        program = ["-m", "vitaclip", "train", "--config", str(out.with_suffix(".yaml"))]
    command = [*torchrun.LAUNCHER, f"--nproc-per-node={count}", *program]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    timing.add_out(parser)
    options = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print(f"{STEPS} steps of {BATCH_SIZE} of 12 clips\n")
    print("| precision | processes | largest difference of a weight | of a loss | largest weight |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        world = write_small_world(Path(name) / "world")
        for precision in ("float64", "float32"):
            for count in (1, 2, 3):
                out = Path(name) / f"{precision}_{count}"
                train(world, out, precision, count)
                prompts = load_file(out / "model" / "prompts.safetensors")
                if count == 1:
                    reference, reference_losses = prompts, losses(out)
                weight = max((prompts[key] - value).abs().max().item() for key, value in reference.items())
                loss = max(abs(a - b) for a, b in zip(losses(out), reference_losses, strict=True))
                largest = max(value.abs().max().item() for value in prompts.values())
                print(f"| {precision} | {count} | {weight:.1e} | {loss:.1e} | {largest:.2f} |", flush=True)
                found[f"{precision}, {count}"] = {"weight": weight, "loss": loss, "largest_weight": largest}
    if options.out:
        settings = {"steps": STEPS, "batch_size": BATCH_SIZE, "threads": os.environ["OMP_NUM_THREADS"]}
        timing.write_figures(options.out, settings, {"largest_difference_by_precision_and_processes": found})


if __name__ == "__main__":
    main()
