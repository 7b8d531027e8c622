"""How time and memory of a train step grow with frames, classes, prompts, batch and image size.

    python benchmarks/scaling.py                                   a short table for each
    python benchmarks/scaling.py --full                            up to 64 frames, 10,000 classes, 448 px
    python benchmarks/scaling.py --axes classes --values 1000 10000
    python benchmarks/scaling.py --small                           tries everything out in a minute

ViT-B/16 with random weights; what is not varied: one clip of 8 frames of 224 px, 10 classes, G = M = 8. Each line is
measured in a process of its own: the second step, or the first if that takes more than 20 seconds. The exponent says
how the figure grows with the axis from the line above; beside it, what the formulas in operations.py say.
"""

import argparse
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))

import full_size
import operations
import timing
import torch
from apart import memory_may_run_out, run_apart

from vitaclip.runtime import RuntimeConfig, keep_freed_memory
from vitaclip.training.memory import peak_growth

VALUES = {
    "frames": ((4, 8, 16), (4, 8, 16, 32, 64)),
    "classes": ((10, 100, 400), (10, 100, 400, 1000, 10_000)),
    "num_global": ((8, 64), (1, 8, 64, 256)),
    "num_context": ((4, 16), (4, 16, 48)),
    "batch": ((1, 2), (1, 2, 4, 8)),
    "image_size": ((112, 224), (112, 224, 448)),
}
"""Of each axis: in short, and in full."""


@dataclass(frozen=True)
class Point:
    """One line: what was measured, and what the formulas give."""

    value: int
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    operations: int
    kept: int


def measure(axis: str, value: int, options: argparse.Namespace) -> Point:
    """In this process."""
    sizes: dict[str, Any] = {
        "frames": 8,
        "classes": 10,
        "num_global": 8,
        "num_context": 8,
        "batch": 1,
        "image_size": 224,
    }
    if options.small:
        sizes |= {"image_size": 32}
    sizes[axis] = value
    clips = sizes.pop("batch")
    model = full_size.build_model(**sizes, small=options.small).to(options.device)
    runtime = RuntimeConfig(precision=options.precision, checkpoint_activations=options.checkpoint_activations)
    trainer = full_size.trainer_of(model.prepare(runtime), clips, clips, runtime)
    batch = full_size.random_batch(model, clips)
    seconds = []

    def step() -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        trainer.train_step(batch)  # reads the loss, so the device has finished
        seconds.append((time.perf_counter() - wall, time.process_time() - cpu))

    peak = peak_growth(options.device, step)
    if seconds[0][0] < timing.LONG_SECONDS:
        step()
    lengths = full_size.text_lengths(model)
    by_products = options.device.type == "cpu" and options.precision == "bfloat16"
    return Point(
        value,
        *seconds[-1],
        peak,
        operations.of_step(model, clips, lengths),
        operations.kept_numbers(model, clips, lengths, by_products=by_products),
    )


def exponent(before: Point, after: Point, field: str) -> str:
    """Of the growth from one line to the next."""
    growth = getattr(after, field) / getattr(before, field)
    return f"{math.log(growth) / math.log(after.value / before.value):.2f}"


def print_table(axis: str, points: list[Point], device: torch.device) -> None:
    """One axis. Of a CPU the processor's time grows, which other programs disturb little; of a card the clock's."""
    measured = ("cpu_seconds" if device.type == "cpu" else "wall_seconds", "operations", "peak_bytes", "kept")
    print(f"\n| {axis} | wall s | CPU s | peak MiB | time grows with power | by formula | memory | by formula |")
    print(f"|---{'|---:' * 7}|")
    for number, point in enumerate(points):
        powers = ["", "", "", ""]
        if number:
            powers = [exponent(points[number - 1], point, field) for field in measured]
        figures = f"{point.wall_seconds:.2f} | {point.cpu_seconds:.2f} | {point.peak_bytes / 2**20:.0f}"
        print(f"| {point.value} | {figures} | {' | '.join(powers)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    timing.add_out(parser)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--checkpoint-activations", action="store_true", help="with runtime.checkpoint_activations")
    parser.add_argument("--axes", nargs="+", choices=VALUES, default=list(VALUES))
    parser.add_argument("--values", nargs="+", type=int, help="of the axis, if one is given")
    parser.add_argument("--full", action="store_true", help="longer tables")
    parser.add_argument("--small", action="store_true", help="a model of next to no size, to try this program out")
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.device = torch.device(options.device)
    keep_freed_memory()  # as `vitaclip train` does
    if options.point:
        with memory_may_run_out():
            print(json.dumps(asdict(measure(options.point[0], int(options.point[1]), options))))
        return
    settings = {
        **{name: getattr(options, name) for name in ("precision", "checkpoint_activations", "small")},
        **{"device": timing.device_name(options.device), "threads": torch.get_num_threads()},
    }
    print(f"{timing.machine()}\n{json.dumps(settings)}")
    tables = {}
    for axis in options.axes:
        points = []
        for value in options.values or VALUES[axis][options.full]:
            printed = run_apart("--point", axis, str(value))
            if printed is None:
                print(f"\n{axis} {value}: out of memory")
                break
            points.append(Point(**json.loads(printed.splitlines()[-1])))
        print_table(axis, points, options.device)
        tables[axis] = [asdict(point) for point in points]
    if options.out:
        timing.write_figures(options.out, settings, {"tables": tables})


if __name__ == "__main__":
    main()
