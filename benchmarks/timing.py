"""Times of several ways to do the same, one after the other in changing order, so that disturbances hit all alike."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

LONG_SECONDS = 20.0
"""Of a first run that takes longer the beginnings count for little: it is not repeated to be measured."""


@dataclass(frozen=True)
class Times:
    """Seconds of each run; run n of one way and of another did the same work, one soon after the other."""

    wall: list[float]
    cpu: list[float]
    """Processor time of the whole process: what other programs on the machine disturb little."""

    def median_ms(self, which: str) -> float:
        """Median in milliseconds of `wall` or `cpu`."""
        return 1000 * statistics.median(getattr(self, which))

    def over(self, other: "Times", which: str) -> float:
        """Median over the runs of this time divided by the other's."""
        pairs = zip(getattr(self, which), getattr(other, which), strict=True)
        return statistics.median(mine / yours for mine, yours in pairs)


def measure(ways: Mapping[str, Callable[[int], object]], runs: Sequence[int]) -> dict[str, Times]:
    """Does every run in every way, and once before without timing it."""
    times = {name: Times([], []) for name in ways}
    for way in ways.values():
        way(runs[0])
    for turn, run in enumerate(runs):
        for name in np.random.default_rng(turn).permutation(list(ways)):
            wall, cpu = time.perf_counter(), time.process_time()
            ways[name](run)
            times[name].cpu.append(time.process_time() - cpu)
            times[name].wall.append(time.perf_counter() - wall)
    return times


def machine() -> str:
    """Processor, number of cores, system."""
    cores = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{len(cores)} x {cores[0].split(': ')[1]}, {platform.system()} {platform.machine()}"


def device_name(device: torch.device) -> str:
    """Which card, or `CPU`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def print_table(title: str, times: Mapping[str, Times | None], base: str) -> None:
    """Medians, and ratios to the way called `base`; None: it ran out of memory."""
    yours = times[base]
    runs = max((len(its.cpu) for its in times.values() if its), default=0)
    print(f"\n{title} ({runs} runs)\n")
    print("| | CPU ms | wall ms | CPU, times ours | wall, times ours |\n|---|---:|---:|---:|---:|")
    for name, its in times.items():
        if its is None:
            print(f"| {name} | out of memory | | | |")
            continue
        medians = f"{its.median_ms('cpu'):.1f} | {its.median_ms('wall'):.1f}"
        ratios = [f"{its.over(yours, which):.2f}" if yours else "" for which in ("cpu", "wall")]
        print(f"| {name} | {medians} | {ratios[0]} | {ratios[1]} |")


def add_out(parser: argparse.ArgumentParser) -> None:
    """`--out`."""
    parser.add_argument("--out", type=Path, help="write all figures to this .json file")


def write_figures(path: Path, settings: Mapping[str, object], figures: Mapping[str, object]) -> None:
    """What was measured, where and how."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"torch": torch.__version__, "python": platform.python_version()}
    path.write_text(json.dumps({"machine": machine(), "settings": {**settings, **about}, **figures}, indent=1) + "\n")


def write_json(path: Path, settings: Mapping[str, object], cases: Mapping[str, Mapping[str, Times | None]]) -> None:
    """All times of all cases; null where memory ran out."""
    values = {case: {way: its and vars(its) for way, its in ways.items()} for case, ways in cases.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **settings, "seconds": values}, indent=1) + "\n")
