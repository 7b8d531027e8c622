"""What searching long videos costs: time and memory, by length, key frames, windows and classes (synthetic files).

    python benchmarks/long_video.py memory --hours 0.1667 1 6        a small model, one process for each file
    python benchmarks/long_video.py speed --minutes 2                   ViT-B/16 on 720p, beside the obvious script

The files are made here: noise that slides, in H.264 by x264 "ultrafast" without B-frames. `memory` has 160 x 120
pixels at 10 frames a second, with a key frame every second or every 250 frames. `speed` has 1280 x 720 at 30 frames a
second, a key frame every 250, one chosen frame a second, random weights, frozen frames and mean pool. The tower alone
is timed on tensors in batches as large as those of the search; the obvious script is PyAV and transformers' CLIP on
every 30th frame. Runs alternate, and the median of the ratios counts.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import islice
from pathlib import Path

import av
import numpy as np
import torch
from full_size import build_model
from timing import machine, measure, print_table
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from vitaclip.data.config import DataConfig
from vitaclip.data.reading.decode import open_video
from vitaclip.model import VideoModel
from vitaclip.moments.config import MomentsConfig
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig

_PICTURES = 97


def write_file(path: Path, frames: int, width: int, height: int, fps: int, gop: int) -> None:
    """A texture that slides by a pixel a frame, and comes again after `_PICTURES` frames."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 8, (width + _PICTURES) // 8 + 1, 3), dtype=np.uint8)
    texture = coarse.repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "crf": "28", "bf": "0", "g": str(gop), "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        pictures = [
            av.VideoFrame.from_ndarray(np.ascontiguousarray(texture[:height, n : n + width]), format="rgb24").reformat(
                format="yuv420p"
            )
            for n in range(_PICTURES)
        ]
        for number in range(frames):
            picture = pictures[number % _PICTURES]
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def search(
    path: Path, classes: int = 2, lengths: tuple[float, ...] = (8, 16, 32, 64), model: VideoModel | None = None
) -> float:
    """Search a file; the seconds that it took."""
    loaded = model or VideoModel.from_backbone("miniature")
    predictor = Predictor(loaded, runtime=RuntimeConfig(device="cpu"), data=DataConfig(workers=0))
    predictor.set_classes([f"a {n} key" for n in range(classes)])
    config = MomentsConfig(lengths_s=lengths, stride_s=1.0, reject=False)
    start = time.perf_counter()
    predictor.moments(path, config)
    return time.perf_counter() - start


def memory(hours: list[float], gops: list[int]) -> None:
    """A row for each file and way; each is searched by a process of its own."""
    print("| hours | key frame every | classes | lengths | seconds | peak memory MB |\n|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        for each in hours:
            for gop in gops:
                write_file(path, round(each * 36000), 160, 120, 10, gop)
                for classes, lengths in ((2, 4), (2, 1), (1000, 4)) if gop == gops[0] and each < 2 else ((2, 4),):
                    words = [sys.executable, __file__, "one", str(path), str(classes), str(lengths)]
                    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
                    print(f"| {each:g} | {gop} frames | {classes} | {lengths} | {told[0]} | {told[1]} |", flush=True)


def one(path: Path, classes: int, lengths: int) -> None:
    """Search one file and print the seconds and the peak of this process."""
    seconds = search(path, classes, (8.0, 16.0, 32.0, 64.0)[:lengths])
    print(f"{seconds:.1f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")


def speed(minutes: float, runs: int) -> None:
    """Times of the search, of its parts, and of the obvious script."""
    model, frames = build_model(prompts=False, classes=2), round(60 * minutes)
    runtime = RuntimeConfig(device="cpu")
    predictor = Predictor(model, runtime=runtime, data=DataConfig(workers=0))
    pixels = torch.randint(0, 256, (64, 1, 1, 3, 224, 224), dtype=torch.uint8)
    config = CLIPConfig(vision_config={"patch_size": 16}, projection_dim=512)
    peer, processor = CLIPModel(config).eval(), CLIPImageProcessor()

    def tower(_: int) -> None:
        for first in range(0, frames, 64):
            predictor.encoder.tower_features(pixels[: min(64, frames - first)])

    def decode(_: int) -> None:
        with open_video(path) as source:
            for _ in source.stream(range(15, source.num_frames, 30), partial(model.frame_fit.resize, size=224)):
                pass

    @torch.no_grad()
    def script(_: int) -> None:
        with av.open(str(path)) as container, predictor.encoder.autocast():
            chosen = (frame for n, frame in enumerate(container.decode(video=0)) if n % 30 == 15)
            while pictures := [frame.to_image() for frame in islice(chosen, 64)]:
                peer.get_image_features(**processor(images=pictures, return_tensors="pt"))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_file(path, round(minutes * 1800), 1280, 720, 30, 250)
        ways = {
            "search, 4 lengths": lambda _: search(path, model=model),
            "search, 1 length": lambda _: search(path, lengths=(8.0,), model=model),
            "tower alone": tower,
            "decoding and resizing alone": decode,
            "PyAV and transformers' CLIP": script,
        }
        times = measure(ways, range(runs))
    load = Path("/proc/loadavg").read_text().split()[0]
    title = f"ViT-B/16, {predictor.computed}, {minutes:g} minutes of 720p, {frames} frames; {machine()}, load {load}"
    print_table(title, times, "search, 4 lengths")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["memory", "speed", "one"])
    parser.add_argument("file", nargs="*", help="of one: file, classes, lengths")
    parser.add_argument("--hours", type=float, nargs="+", default=[1 / 6, 1, 6])
    parser.add_argument("--gops", type=int, nargs="+", default=[10, 250], help="frames from key frame to key frame")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if options.what == "memory":
        memory(options.hours, options.gops)
    elif options.what == "speed":
        speed(options.minutes, options.runs)
    else:
        one(Path(options.file[0]), int(options.file[1]), int(options.file[2]))


if __name__ == "__main__":
    main()
