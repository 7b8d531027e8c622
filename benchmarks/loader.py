"""Clips a second of the training loader, where the time goes, and how much memory a process takes.

python benchmarks/loader.py --folder /tmp/clips --out loader.json
python benchmarks/loader.py --folder /tmp/clips --memory             4K, and an hour long
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import clips
import numpy as np
import timing
import torch
from torch import Tensor

from vitaclip.data.config import AugmentConfig
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.clips import TrainClips
from vitaclip.data.loading.loader import TrainDataset
from vitaclip.data.loading.loader import train_batches as load
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.transforms import SampledTransform, TrainTransform

BATCH = 8
RANDAUGMENT = "rand-m7-n4-mstd0.5-inc1"
SAMPLING = FrameSampling("dense", 8, 16)

# ----------------------------------------------------------------------------------------------------- clips a second


class Ready(TrainClips):
    """Has every clip at once: what remains is the way to the main process."""

    def read(self, path: VideoPath, rng: np.random.Generator) -> Tensor:
        """Black."""
        return torch.zeros(8, 3, 224, 224, dtype=torch.uint8)


def dataset(paths: list[Path], randaugment: str, kind: type[TrainClips] = TrainClips) -> TrainDataset:
    """The training data of the published recipe."""
    rows = [VideoSample(path, (0,), str(path)) for path in paths]
    return TrainDataset(rows, kind(SAMPLING, TrainTransform(224, AugmentConfig(randaugment=randaugment))), seed=0)


def measure_throughput(paths: list[Path], turns: int, batches: int) -> dict[str, timing.Times]:
    """Seconds for a number of batches, the start of the workers included."""

    def way(data: TrainDataset, workers: int) -> Callable[[int], object]:
        return lambda run: [None for _ in load(data, run * batches, (run + 1) * batches, BATCH, workers)]

    ways = {}
    for name, randaugment in (("", ""), (", RandAugment", RANDAUGMENT)):
        for workers in (0, 1, 2):
            ways[f"{workers} workers{name}"] = way(dataset(paths, randaugment), workers)
    ways["1 workers with every clip ready: transport alone"] = way(dataset(paths, "", Ready), 1)
    return timing.measure(ways, range(turns))


def print_throughput(times: dict[str, timing.Times], batches: int) -> None:
    """Clips a second: the median, and the best run; the last line is the way to the main process."""
    print("\n| | clips/s, median | clips/s, best run | ms a clip, best run |\n|---|---:|---:|---:|")
    for name, its in times.items():
        rates = [BATCH * batches / seconds for seconds in its.wall]
        print(f"| {name} | {statistics.median(rates):.1f} | {max(rates):.1f} | {1000 / max(rates):.2f} |")


# ------------------------------------------------------------------------------------------------ where the time goes


class Stopwatch:
    """Adds up processor time by name."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def time(self, name: str):
        """Times a block."""
        start = time.process_time()
        yield
        self.spent[name] += time.process_time() - start

    def watch(self, name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A function, timed."""

        def timed(*values: object) -> Tensor:
            with self.time(name):
                return function(*values)

        return timed


def make_sample(path: Path, transform: TrainTransform, rng: np.random.Generator, watch: Stopwatch) -> None:
    """What TrainDataset does, step by step."""
    with watch.time("open, read packets"):
        context = open_video(path)
        video = context.__enter__()
    convert, sampled = video._convert, SampledTransform(transform, rng)
    video._convert = watch.watch("colour conversion", convert)  # type: ignore[assignment]
    shrink = watch.watch("crop and resize", sampled.frame)
    before = watch.spent["colour conversion"] + watch.spent["crop and resize"]
    with watch.time("decode"):
        frames = video.frames(SAMPLING.train(video.num_frames, rng), shrink)
    watch.spent["decode"] -= watch.spent["colour conversion"] + watch.spent["crop and resize"] - before
    context.__exit__(None, None, None)
    if transform.randaugment:
        with watch.time("augmentation"):
            frames = transform.randaugment(frames, rng)
        frames = watch.watch("crop and resize", sampled._crop)(frames)
    with watch.time("into the batch"):
        frames.contiguous().clone()


def print_stages(paths: list[Path], samples: int) -> None:
    """Milliseconds of processor time per clip."""
    columns = {}
    for name, randaugment in (("plain", ""), ("RandAugment", RANDAUGMENT)):
        transform = TrainTransform(224, AugmentConfig(randaugment=randaugment))
        make_sample(paths[0], transform, np.random.default_rng(0), Stopwatch())
        watch = Stopwatch()
        for number in range(samples):
            make_sample(paths[number % len(paths)], transform, np.random.default_rng(number), watch)
        columns[name] = {stage: 1000 * seconds / samples for stage, seconds in watch.spent.items()}
    print(f"\nCPU ms a clip, mean of {samples}:\n\n| | {' | '.join(columns)} |\n|---|---:|---:|")
    for stage in (
        "open, read packets",
        "decode",
        "colour conversion",
        "augmentation",
        "crop and resize",
        "into the batch",
    ):
        print(f"| {stage} | {' | '.join(f'{spent.get(stage, 0):.2f}' for spent in columns.values())} |")
    print(f"| sum | {' | '.join(f'{sum(spent.values()):.2f}' for spent in columns.values())} |")


# ------------------------------------------------------------------------------------------------------------- memory

MEMORY_CLIPS = (
    clips.SHORT[0],
    clips.Clip("4k", seconds=4, width=3840, height=2160, noise=0, preset="ultrafast", b_frames=0),
    clips.Clip("one_hour", seconds=60, repeats=60, width=160, height=120, noise=0, preset="veryfast"),
)
MEMORY_CASES = {
    "nothing": "[]",
    "a training clip": "train(TrainTransform(224))",
    "a training clip, RandAugment": "train(TrainTransform(224, augment))",
    "a test of 3 views": "test(EvalViews(sampling))",
    "16 frames spread over the video": "test(EvalViews(FrameSampling('segments', 16), 1))",
}
MEMORY_PROGRAM = """
import sys
from pathlib import Path
from vitaclip.data.config import AugmentConfig
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.clips import EvalViews, TrainClips
from vitaclip.data.loading.loader import EvalDataset, TrainDataset
from vitaclip.data.loading.loader import eval_batches, train_batches
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.transforms import TrainTransform
rows, sampling = [VideoSample(Path(sys.argv[1]), (0,), "")], FrameSampling("dense", 8, 16)
augment = AugmentConfig(randaugment="rand-m7-n4-mstd0.5-inc1")
train = lambda transform: train_batches(TrainDataset(rows, TrainClips(sampling, transform), 0), 0, 1, 1)
test = lambda views: eval_batches(EvalDataset(rows, views), 1)
for _ in {case}:
    pass
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def print_memory(folder: Path) -> None:
    """Largest resident memory of a fresh process that reads one video, in MB."""
    print(f"\n| MB at most | size, frames | {' | '.join(MEMORY_CASES)} |\n|---|---{'|---:' * len(MEMORY_CASES)}|")
    for clip in MEMORY_CLIPS:
        path = clips.make(clip, folder)
        row = []
        for case in MEMORY_CASES.values():
            program = MEMORY_PROGRAM.replace("{case}", case)
            run = subprocess.run([sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True)
            row.append(f"{int(run.stdout) / 1024:.0f}")
        print(f"| {clip.name} | {clip.width}x{clip.height}, {clip.frames} | {' | '.join(row)} |", flush=True)


def main() -> None:
    """Measure one thing or another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the files are made and kept")
    parser.add_argument("--out", type=Path, help="write the times of the loader to this .json file")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batches", type=int, default=8, help="batches of 8 clips in a turn")
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(timing.machine())
    if options.memory:
        print_memory(options.folder)
        return
    paths = [clips.make(clip, options.folder) for clip in clips.SHORT]
    print_stages(paths, 60)
    times = measure_throughput(paths, options.turns, options.batches)
    print_throughput(times, options.batches)
    if options.out:
        timing.write_json(options.out, {"batches": options.batches, "batch": BATCH}, {"loader": times})


if __name__ == "__main__":
    main()
