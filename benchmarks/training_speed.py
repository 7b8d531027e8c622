"""Train step and test of a video, the package against the published procedure: time, memory, share of the peak.

    python benchmarks/training_speed.py                                   8 frames, a step of 2 micro-batches on a CPU
    python benchmarks/training_speed.py --frames 8 16 --micro-batches 8   the whole step of 16 clips
    python benchmarks/training_speed.py --small --frames 2                tries everything out in a minute
    python benchmarks/training_speed.py --profile                         where the time of each goes, by kind

ViT-B/16 with random weights, 400 classes of Kinetics, a context for each class. Every run has a process of its
own, in changing order, since one published step takes most of a 24 GB machine. On a CUDA device a step has 8
micro-batches of 32 clips unless told otherwise, and the card's own rate of bfloat16 matrix products is measured too.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from itertools import product

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))

import breakdown
import full_size
import numpy as np
import operations as counting
import timing
import torch
from apart import memory_may_run_out, run_apart
from ways import PLAIN, XCLIP, job, side

from vitaclip.runtime import keep_freed_memory
from vitaclip.training.memory import peak_growth

PRECISIONS = ("float32", "bfloat16")
RATIOS = (
    ("published / ours, float32", "published float32", "ours float32"),
    ("published / ours, bfloat16", "published bfloat16", "ours bfloat16"),
    ("ours, float32 / bfloat16", "ours float32", "ours bfloat16"),
    ("published float32 / ours bfloat16", "published float32", "ours bfloat16"),
)
JOBS = ("train", "test")


def print_ratios(times: Mapping[str, timing.Times | None]) -> None:
    """Like with like."""
    print("\n| ratio, median over the runs | CPU time | wall time |\n|---|---:|---:|")
    for title, slow, fast in RATIOS:
        slower, faster = times.get(slow), times.get(fast)
        if slower and faster:
            cpu, wall = (slower.over(faster, which) for which in ("cpu", "wall"))
            print(f"| {title} | {cpu:.2f} | {wall:.2f} |")


def compiles(way: str, options: argparse.Namespace) -> bool:
    """Whether a first run makes code."""
    return options.compile and way.startswith("ours")


def measure_apart(
    what: str, frames: int, ways: list[str], options: argparse.Namespace
) -> tuple[dict[str, timing.Times | None], dict[str, int]]:
    """Times of each way, None if it ran out of memory; and its peak over the resident model in bytes.

    Every run has a process of its own, in changing order: one published step takes most of a 24 GB machine, and what an
    allocator keeps would be in another's way.
    """
    times: dict[str, timing.Times | None] = {way: timing.Times([], []) for way in ways}
    peaks: dict[str, int] = {}
    for turn in range(options.runs):
        for way in np.random.default_rng(turn).permutation(ways).tolist():
            its = times[way]
            if its is None:
                continue
            printed = run_apart("--run-of", way, what, str(frames))
            if printed is None:
                times[way] = None
                peaks.pop(way, None)
                continue
            found = json.loads(printed.splitlines()[-1])
            its.cpu.append(found["cpu"])
            its.wall.append(found["wall"])
            peaks[way] = max(peaks.get(way, 0), found["peak_bytes"])
            if compiles(way, options):
                print(f"{what}, {frames} frames, warm-up of {way}, in which it is compiled: {found['first']:.1f} s")
    return times, peaks


def measure_here(run: Callable[[int], None], device: torch.device, *, compiled: bool) -> dict[str, float]:
    """Peak memory and wall seconds of a first run; processor and wall seconds of a second one.

    Where nothing is compiled a long first run is not repeated: its beginnings count for little, and a published step
    does not fit twice into what is left of 24 GB.
    """

    def timed() -> dict[str, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        run(0)
        return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}

    first: dict[str, float] = {}
    peak = peak_growth(device, lambda: first.update(timed()))
    again = compiled or first["wall"] <= timing.LONG_SECONDS
    return {"peak_bytes": peak, "first": first["wall"], **(timed() if again else first)}


def print_memory(title: str, ways: list[str], peaks: dict[str, int]) -> None:
    """Beside ours of the same precision."""
    print(f"\n| {title}: peak over the resident model | MiB | times ours |\n|---|---:|---:|")
    for way in ways:
        count, ours = peaks.get(way), peaks.get(f"ours {way.split()[1]}")
        ratio = f"{count / ours:.2f}" if count and ours else ""
        print(f"| {way} | {f'{count / 2**20:.0f}' if count else 'out of memory'} | {ratio} |")


def print_shares(
    options: argparse.Namespace, what: str, frames: int, times: Mapping[str, timing.Times | None], rate: float
) -> dict[str, float]:
    """What share of the device's rate our operations reached."""
    model = full_size.build_model(frames=frames, classes=options.classes, image_size=side(options), small=options.small)
    clips = options.micro_batches * options.micro_batch_size
    operations = options.views * counting.of_video(model, frames)
    if what == "train":
        operations = counting.of_step(model, clips, full_size.text_lengths(model))
    print(f"\n| {operations / 1e12:.2f} T operations | T/s | share of {rate / 1e12:.2f} T/s |\n|---|---:|---:|")
    shares = {}
    for way in (f"ours {precision}" for precision in options.precisions):
        its = times[way]
        if its is None:
            continue
        reached = operations / (its.median_ms("wall") / 1000)
        shares[way] = reached / rate
        print(f"| {way} | {reached / 1e12:.3f} | {shares[way]:.0%} |")
    return shares


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    timing.add_out(parser)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--frames", type=int, nargs="+", default=[8])
    parser.add_argument("--classes", type=int, default=400)
    parser.add_argument("--micro-batches", type=int, help="of a step (2 on a CPU, 8 on a GPU)")
    parser.add_argument("--micro-batch-size", type=int, help="clips (2 on a CPU, 32 on a GPU)")
    parser.add_argument("--views", type=int, default=3, help="of a test video")
    parser.add_argument("--runs", type=int, default=1, help="timed runs of each way, after one that is not")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--compile", action="store_true", help="with runtime.compile")
    parser.add_argument("--small", action="store_true", help="a model of next to no size, to try this program out")
    parser.add_argument("--profile", action="store_true", help="print where the time of each goes, and nothing else")
    parser.add_argument("--run-of", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--rate-of-products", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.device = torch.device(options.device)
    on_gpu = options.device.type == "cuda"
    options.micro_batches = options.micro_batches or (8 if on_gpu else 2)
    options.micro_batch_size = options.micro_batch_size or (32 if on_gpu else 2)
    return options


def run_one(way: str, what: str, frames: int, options: argparse.Namespace) -> None:
    """Measure in this process, and print what the one that started it reads."""
    with memory_may_run_out():
        run, compiled = job(way, options, what, frames), compiles(way, options)
        if options.profile:
            title = f"{what}, {frames} frames, {way}"
            breakdown.print_kinds(title, partial(run, 0), options.device, compiled=compiled)
        else:
            print(json.dumps(measure_here(run, options.device, compiled=compiled)))


def main() -> None:
    """Print the tables; this process itself leaves the card alone."""
    options = parse()
    keep_freed_memory()  # as `vitaclip train` does; the published procedure has the good of it too
    if options.rate_of_products:
        print(breakdown.matrix_rate(options.device, small=options.small))
        return
    if options.run_of:
        way, what, frames = options.run_of
        run_one(way, what, int(frames), options)
        return
    settings = {
        **{
            name: getattr(options, name)
            for name in ("classes", "micro_batches", "micro_batch_size", "views", "runs", "compile")
        },
        **{
            "device": timing.device_name(options.device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
        **{"python": platform.python_version(), "small": options.small},
    }
    print(f"{timing.machine()}\n{json.dumps(settings)}")
    ways = [f"{procedure} {precision}" for precision in options.precisions for procedure in full_size.PROCEDURES]
    if options.profile:
        for frames, what, way in product(options.frames, options.jobs, ways):
            printed = run_apart("--run-of", way, what, str(frames))
            print(printed or f"\n{what}, {frames} frames, {way}: out of memory", flush=True)
        return
    full_size.assert_equal_logits()
    others = [PLAIN, *([XCLIP] if find_spec("transformers") else [])]
    cases, peaks, shares = {}, {}, {}
    rate = float(run_apart("--rate-of-products") or "nan")
    for frames, what in product(options.frames, options.jobs):
        title = f"{what}, {frames} frames"
        times, peaks[title] = measure_apart(what, frames, ways + (others if what == "test" else []), options)
        print_memory(title, ways, peaks[title])
        timing.print_table(title, times, ways[0])
        print_ratios(times)
        shares[title] = print_shares(options, what, frames, times, rate)
        cases[title] = times
        if options.out:  # at once: a later case may fail
            figures = {
                "settings": settings,
                "peak_bytes": peaks,
                "bfloat16_operations_per_second": rate,
                "share_of_rate": shares,
            }
            timing.write_json(options.out, figures, cases)


if __name__ == "__main__":
    main()
