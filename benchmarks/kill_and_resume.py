"""Kill a training run ten times at random moments, start it again each time, and compare it with one never killed.

Real commands and real kill -9: of one process, then of two, where either one of them or both are killed. Synthetic
clips, a tiny random backbone, EVL's decoder with dropout above prompts, worker processes, every random change of clips,
micro-batches, an average, validation.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import timing
import yaml

from killing import hard_case, outcome
from small_world import train_config, write_small_world
from torchrun import LAUNCHER
from vitaclip.runtime import RuntimeConfig
from vitaclip.settings import to_dict
from vitaclip.training.config import OptimConfig

STEPS_A_KILL = 12


def command(config_file: Path, processes: int) -> list[str]:
    """The command that trains on so many processes."""
    train = ["-m", "vitaclip", "train", "--config", str(config_file)]
    return [sys.executable, *train] if processes == 1 else [*LAUNCHER, f"--nproc-per-node={processes}", *train]


def write_config(world: Path, out: Path, steps: int, device: str) -> Path:
    """The run's config file."""
    config = train_config(world, out)
    config = replace(
        hard_case(config, str(world / "videos")),
        optim=replace(OptimConfig(steps=steps, batch_size=5, micro_batch_size=2), ema_decay=0.99),
        runtime=RuntimeConfig(device=device, precision="float32"),
    )
    file = out.with_suffix(".yaml")
    file.write_text(yaml.safe_dump(to_dict(config)))
    return file


def logged_steps(out: Path) -> int:
    """Lines of metrics so far."""
    file = out / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def children(process: int) -> list[int]:
    """The processes that a process started."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def kill_once(arguments: list[str], out: Path, draw: random.Random, processes: int) -> str:
    """Start the run, kill it some random steps on; what was done, or nothing if the run came to its end before."""
    before = logged_steps(out)
    run = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wanted = before + draw.randint(0, STEPS_A_KILL)
    while run.poll() is None and logged_steps(out) < wanted:
        time.sleep(0.002)
    time.sleep(draw.uniform(0, 0.2))  # anywhere in the steps that follow
    if run.poll() is not None:
        return ""
    ranks = children(run.pid) if processes > 1 else []
    victim = draw.randrange(len(ranks) + 1)
    if victim < len(ranks):
        os.kill(ranks[victim], signal.SIGKILL)
        what = f"process {victim}"
        run.wait(timeout=90)  # the launcher has to notice and end the other one
    else:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        for rank in ranks:  # torchrun gives each a session of its own
            if Path(f"/proc/{rank}").exists():
                os.kill(rank, signal.SIGKILL)
        what = "all processes" if processes > 1 else "the process"
    while any(Path(f"/proc/{rank}").exists() for rank in ranks):
        time.sleep(0.01)
    newest = sorted((out / "checkpoints").glob("step_*.safetensors"))[-1:]
    leftovers = len(list(out.rglob("*.tmp")))
    return (
        f"killed {what} after {logged_steps(out)} lines of metrics, newest checkpoint"
        f" {newest[0].stem.removeprefix('step_').lstrip('0') if newest else 'none'}, {leftovers} half-written files"
    )


def compare(folder: Path, world: Path, processes: int, kills: int, seed: int, device: str) -> dict[str, Any]:
    """Run without and with kills; print what happened, and whether the outcomes are the same."""
    steps = STEPS_A_KILL * kills
    whole, killed = folder / f"whole_{processes}", folder / f"killed_{processes}"
    files = [write_config(world, out, steps, device) for out in (whole, killed)]
    started = time.perf_counter()
    subprocess.run(command(files[0], processes), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(
        f"{processes} process(es): {steps} steps without a kill took {time.perf_counter() - started:.0f} s", flush=True
    )
    draw, done = random.Random(seed), list[str]()
    while len(done) < kills:
        what = kill_once(command(files[1], processes), killed, draw, processes)
        if not what:
            break
        done.append(what)
        print(f"  {len(done):2d}. {what}", flush=True)
    subprocess.run(command(files[1], processes), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first, second = outcome(whole), outcome(killed)
    same = {part: first[part] == second[part] for part in first}
    for part, equal in same.items():
        print(f"  {part}: {'the same bits' if equal else 'DIFFERENT'}", flush=True)
    print(f"  {len(first['tensors'])} tensors, {len(first['metrics'])} lines of metrics, {len(done)} kills", flush=True)
    return {"kills": done, "same": same, "passed": all(same.values()) and len(done) == kills}


def main() -> None:
    """Both cases; exits with 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu", help="what `runtime.device` takes")
    timing.add_out(parser)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = write_small_world(folder / "world")
        found = {
            count: compare(folder, world, count, arguments.kills, arguments.seed, arguments.device)
            for count in arguments.processes
        }
    if arguments.out:
        settings = {"kills": arguments.kills, "seed": arguments.seed, "threads": os.environ["OMP_NUM_THREADS"]}
        timing.write_figures(arguments.out, settings, {"by_processes": found})
    sys.exit(0 if all(each["passed"] for each in found.values()) else 1)


if __name__ == "__main__":
    main()
