"""How the time to train, to test and to predict grows with frames, classes and towers, with processes and workers.

    python benchmarks/growth.py                 ViT-B/16 with random weights, one clip; the miniature world's files
    python benchmarks/growth.py --small         a model of next to no size, to try this program out

A train step of one clip, the test of one view whose class texts are there, and a prediction, whose class texts are not:
processor seconds in one thread, the less of two runs, and how many times those of the line above, measured and by the
formulas of operations.py. What is not varied: 8 frames, 10 classes, B/16. Then `vitaclip eval` of files: seconds on the
clock for a list less those for its first tenth, so that starting counts for nothing; by the mathematics two processes
on two cores take half as long, and workers, who decode, at best what decoding takes of one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import full_size
import operations
import timing
import torch

from vitaclip.miniature.videos import NOVEL_FILE, write_videos
from vitaclip.runtime import RuntimeConfig, keep_freed_memory

AXES: dict[str, tuple[int | str, ...]] = {
    "frames": (4, 8, 16),
    "classes": (10, 100, 400),
    "size": ("b32", "b16", "l14"),
}
PROGRAMS = ((1, 0), (1, 1), (1, 2), (2, 0), (2, 1))
"""Processes and the workers of each."""


def measure(axis: str, value: int | str, *, small: bool) -> dict[str, tuple[float, int]]:
    """Seconds of training, testing and predicting, and what the formulas count for each."""
    sizes: dict[str, Any] = {"frames": 8, "classes": 10, "size": "b16", axis: value}
    model = full_size.build_model(**sizes, small=small, image_size=48 if small else 224)
    ours = full_size.Ours(model, full_size.random_batch(model, 1), 1, RuntimeConfig(device="cpu"))
    view = full_size.random_pixels(1, model.config.num_frames, size=model.image_size)

    def predict() -> None:
        with torch.no_grad(), ours.autocast():
            ours.text_features = model.eval().encode_text(model.class_names)
        ours.test(view)

    def train() -> None:
        model.train()
        ours.train()

    lengths = full_size.text_lengths(model)
    video = operations.of_video(model, model.config.num_frames)
    texts = operations.of_texts(model.backbone.config.text, lengths)
    return {
        "train": (least_seconds(train), operations.of_step(model, 1, lengths)),
        "test": (least_seconds(lambda: ours.test(view)), video),
        "predict": (least_seconds(predict), video + texts),
    }


def least_seconds(run: Callable[[], object]) -> float:
    """Processor time, the less of two runs."""
    seconds = []
    for _ in range(2):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds)


def evaluate(processes: int, workers: int, lists: list[Path]) -> float:
    """Seconds on the clock that the rest of the list takes, by programs of their own."""
    seconds = []
    for file in lists:
        program = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
        command = [*(program if processes > 1 else ["-m"]), "vitaclip", "eval", str(file), "--model", "miniature"]
        command += ["--data.classes", str(file.with_name(NOVEL_FILE)), "--data.workers", str(workers)]
        command += ["--runtime.device", "cpu"]
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return seconds[1] - seconds[0]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a model of next to no size")
    parser.add_argument("--clips", type=int, default=4, help="files of each of the 72 classes")
    timing.add_out(parser)
    options = parser.parse_args()
    keep_freed_memory()
    kinds, found = ("train", "test", "predict"), dict[str, dict[str, tuple[float, int]]]()
    print(f"{timing.machine()}, torch {torch.__version__}\n\n| | " + " | times, by formula | ".join(kinds), end="")
    print(f" | times, by formula |\n|---{'|---:' * 6}|")
    for axis, values in AXES.items():
        before: dict[str, tuple[float, int]] = {}
        for value in values:
            point = measure(axis, value, small=options.small)
            found[f"{axis} {value}"] = point
            cells = []
            for kind, (seconds, count) in point.items():
                growth = f"{seconds / before[kind][0]:.2f}, {count / before[kind][1]:.2f}" if before else ""
                cells.append(f"{seconds:.3g} | {growth}")
            print(f"| {axis} {value} | {' | '.join(cells)} |", flush=True)
            before = point
    print("\n| processes | workers of each | seconds | times the first |\n|---:|---:|---:|---:|")
    clocks: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        whole = write_videos(name, "test_novel", options.clips, seed=0)
        part = whole.with_name("part.csv")
        rows = whole.read_text().splitlines(keepends=True)
        part.write_text("".join(rows[: len(rows) // 10]))
        for processes, workers in PROGRAMS:
            clocks[f"{processes}, {workers}"] = seconds = evaluate(processes, workers, [part, whole])
            print(f"| {processes} | {workers} | {seconds:.1f} | {seconds / clocks['1, 0']:.2f} |", flush=True)
    if options.out:
        timing.write_figures(options.out, {"small": options.small}, {"points": found, "eval_seconds": clocks})


if __name__ == "__main__":
    main()
