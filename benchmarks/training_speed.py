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
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))

import breakdown
import full_size
import memory
import numpy as np
import operations as counting
import timing
import torch

from vitaclip.config import RuntimeConfig
from vitaclip.runtime import keep_freed_memory

PRECISIONS = ("float32", "bfloat16")
RATIOS = (
    ("published / ours, float32", "published float32", "ours float32"),
    ("published / ours, bfloat16", "published bfloat16", "ours bfloat16"),
    ("ours, float32 / bfloat16", "ours float32", "ours bfloat16"),
    ("published float32 / ours bfloat16", "published float32", "ours bfloat16"),
)
JOBS = ("train", "test")


def side(options: argparse.Namespace) -> int:
    """Of a frame, in pixels."""
    return 32 if options.small else 224


def build(way: str, options: argparse.Namespace, frames: int) -> full_size.Ours | full_size.Published:
    """`ours float32` and so on, ready to run."""
    procedure, precision = way.split()
    model = full_size.build_model(frames=frames, classes=options.classes, image_size=side(options), small=options.small)
    model = model.to(options.device)
    batch = full_size.random_batch(model, options.micro_batches * options.micro_batch_size)
    runtime = RuntimeConfig(precision=precision, compile=options.compile)
    return full_size.PROCEDURES[procedure](model, batch, options.micro_batches, runtime)


def job(way: str, options: argparse.Namespace, what: str, frames: int) -> Callable[[int], None]:
    """One run of a job, which has ended when the call returns."""
    procedure = build(way, options, frames)
    views = full_size.random_pixels(options.views, frames, size=side(options))

    def run(_: int) -> None:
        procedure.train() if what == "train" else procedure.test(views)
        if options.device.type == "cuda":
            torch.cuda.synchronize(options.device)

    return run


def others(options: argparse.Namespace, frames: int) -> dict[str, Callable[[int], object]]:
    """What else there is for the test of a video: CLIP's image tower with the frames averaged, and X-CLIP's."""
    size = side(options)
    views = full_size.random_pixels(options.views, frames, size=size)
    plain = full_size.build_model(frames=frames, image_size=size, small=options.small, prompts=False)
    plain = plain.to(options.device).eval()
    ways: dict[str, Callable[[int], object]] = {
        "CLIP, frames averaged, float32": lambda _: full_size.encode_views(plain, views[None])
    }
    try:
        from transformers import XCLIPConfig, XCLIPModel
    except ImportError as error:
        print("left out: X-CLIP:", error)
        return ways
    vision = {"patch_size": 16, "num_frames": frames, "image_size": size, "mit_hidden_size": 512}
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1} if options.small else {}
    peer = XCLIPModel(XCLIPConfig(vision_config={**vision, **sizes})).to(options.device).eval()
    clips = views.to(options.device).float()

    @torch.no_grad()
    def encode(_: int) -> None:
        peer.get_video_features(clips)
        if options.device.type == "cuda":
            torch.cuda.synchronize(options.device)

    return {**ways, "X-CLIP's video tower (transformers), float32": encode}


def print_ratios(times: dict[str, timing.Times]) -> None:
    """Like with like."""
    print("\n| ratio, median over the runs | CPU time | wall time |\n|---|---:|---:|")
    for title, slow, fast in RATIOS:
        if slow in times and fast in times:
            cpu, wall = (times[slow].over(times[fast], which) for which in ("cpu", "wall"))
            print(f"| {title} | {cpu:.2f} | {wall:.2f} |")


def print_first_runs(title: str, jobs: dict[str, Callable[[int], None]]) -> None:
    """How long our first runs take, in which code is made."""
    for way in (way for way in jobs if way.startswith("ours")):
        started = time.perf_counter()
        jobs[way](0)
        print(f"{title}, first run of {way}: {time.perf_counter() - started:.1f} s")


def measure_apart(what: str, frames: int, ways: list[str], runs: int) -> tuple[dict[str, timing.Times], dict[str, int]]:
    """Times of each way, and its peak over the resident model in bytes. Every run has a process of its own, in changing
    order: one published step takes most of a 24 GB machine, and what an allocator keeps would be in another's way."""
    times = {way: timing.Times([], []) for way in ways}
    peaks = dict.fromkeys(ways, 0)
    for turn in range(runs):
        for way in np.random.default_rng(turn).permutation(ways).tolist():
            command = [sys.executable, *sys.argv, "--run-of", way, what, str(frames)]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            found = json.loads(run.stdout.splitlines()[-1])
            times[way].cpu.append(found["cpu"])
            times[way].wall.append(found["wall"])
            peaks[way] = max(peaks[way], found["peak_bytes"])
    return times, peaks


def measure_here(run: Callable[[int], None], device: torch.device) -> dict[str, float]:
    """Peak memory of a first run; processor and wall seconds of a second one, or of the first if that is a long one.

    A long one's beginnings count for little, and a published step does not fit twice into what is left of 24 GB.
    """

    def timed() -> dict[str, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        run(0)
        return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}

    first: dict[str, float] = {}
    peak = memory.extra_peak_bytes(device, lambda: first.update(timed()))
    return {"peak_bytes": peak, **(first if first["wall"] > timing.LONG_SECONDS else timed())}


def print_memory(title: str, peaks: dict[str, int]) -> None:
    """Beside ours of the same precision."""
    print(f"\n| {title}: peak over the resident model | MiB | times ours |\n|---|---:|---:|")
    for way, count in peaks.items():
        print(f"| {way} | {count / 2**20:.0f} | {count / peaks[f'ours {way.split()[1]}']:.2f} |")


def print_shares(
    options: argparse.Namespace, what: str, frames: int, times: dict[str, timing.Times], rate: float
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
        reached = operations / (times[way].median_ms("wall") / 1000)
        shares[way] = reached / rate
        print(f"| {way} | {reached / 1e12:.3f} | {shares[way]:.0%} |")
    return shares


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write all figures to this .json file")
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
    options = parser.parse_args()
    options.device = torch.device(options.device)
    on_gpu = options.device.type == "cuda"
    options.micro_batches = options.micro_batches or (8 if on_gpu else 2)
    options.micro_batch_size = options.micro_batch_size or (32 if on_gpu else 2)
    return options


def main() -> None:
    """Print the tables."""
    options = parse()
    keep_freed_memory()  # as `vitaclip train` does; the published procedure has the good of it too
    if options.run_of:
        way, what, frames = options.run_of
        run = job(way, options, what, int(frames))
        if options.profile:
            breakdown.print_kinds(f"{what}, {frames} frames, {way}", partial(run, 0), options.device)
        else:
            print(json.dumps(measure_here(run, options.device)))
        return
    card = torch.cuda.get_device_name(options.device) if options.device.type == "cuda" else "CPU"
    settings = {
        **{
            name: getattr(options, name)
            for name in ("classes", "micro_batches", "micro_batch_size", "views", "runs", "compile")
        },
        **{"device": card, "threads": torch.get_num_threads(), "torch": torch.__version__},
        **{"python": platform.python_version(), "small": options.small},
    }
    print(f"{timing.machine()}\n{json.dumps(settings)}")
    ways = [f"{procedure} {precision}" for precision in options.precisions for procedure in full_size.PROCEDURES]
    if options.profile:
        for frames, what, way in product(options.frames, options.jobs, ways):
            subprocess.run([sys.executable, *sys.argv, "--run-of", way, what, str(frames)], check=True)
        return
    full_size.assert_equal_logits()
    cases, peaks, shares = {}, {}, {}
    rate = breakdown.matrix_rate(options.device, small=options.small)
    for frames, what in product(options.frames, options.jobs):
        title = f"{what}, {frames} frames"
        if options.compile:
            print_first_runs(title, {way: job(way, options, what, frames) for way in ways})
        times, peaks[title] = measure_apart(what, frames, ways, options.runs)
        print_memory(title, peaks[title])
        if what == "test":
            times |= timing.measure(others(options, frames), range(options.runs))
        timing.print_table(title, times, ways[0])
        print_ratios(times)
        shares[title] = print_shares(options, what, frames, times, rate)
        cases[title] = times
    if options.out:
        figures = {
            "settings": settings,
            "peak_bytes": peaks,
            "bfloat16_operations_per_second": rate,
            "share_of_rate": shares,
        }
        timing.write_json(options.out, figures, cases)


if __name__ == "__main__":
    main()
