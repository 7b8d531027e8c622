"""What searching long videos costs: time and memory, by length, key frames, windows and classes (synthetic files).

    python benchmarks/long_video.py memory --hours 0.1667 1 6        a small model, one process for each file
    python benchmarks/long_video.py speed --minutes 2 --longer 6 36     a whole CLIP on 720p, beside the obvious script

The files are made here: noise that slides, in H.264 by x264 "ultrafast" without B-frames. `memory` has 160 x 120
pixels at 10 frames a second, with a key frame every second or every 250 frames. `speed` has 1280 x 720 at 30 frames a
second, a key frame every `--gop` frames, one chosen frame a second, random weights, frozen frames and mean pool.
Decoding alone takes the frames that the search takes: key frames, where there is one for each. The tower alone is timed
on tensors in batches as large as those of the search; the obvious script is PyAV and transformers' CLIP of the same
size on every 30th frame. Runs alternate, and the median of the ratios counts; files that are `--longer` times as long
are searched once each.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import numpy as np
import torch
from full_size import SIZES, build_model
from timing import machine, measure, print_table
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from vitaclip.data.config import DataConfig
from vitaclip.data.reading.decode import open_video
from vitaclip.model import VideoModel
from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.windows import plan_windows
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig

_PICTURES = 97
SETTINGS = MomentsConfig(stride_s=1.0, reject=False)


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


def repeat_file(source: Path, path: Path, times: int) -> None:
    """The packets of a file, one time behind the other."""
    with av.open(str(source)) as given, av.open(str(path), "w") as container:
        stream = given.streams.video[0]
        copy, length = container.add_stream_from_template(stream), stream.duration
        assert length is not None
        for number in range(times):
            given.seek(0)
            for packet in given.demux(stream):
                if packet.pts is not None and packet.dts is not None:
                    packet.pts, packet.dts = packet.pts + number * length, packet.dts + number * length
                    packet.stream = copy
                    container.mux(packet)


def searcher(classes: int, model: VideoModel) -> Predictor:
    """What searches for so many classes."""
    predictor = Predictor(model, runtime=RuntimeConfig(device="cpu"), data=DataConfig(workers=0))
    predictor.set_classes([f"a {n} key" for n in range(classes)])
    return predictor


def search(path: Path, predictor: Predictor, lengths: tuple[float, ...] = SETTINGS.lengths_s) -> float:
    """Search a file; the seconds that it took."""
    start = time.perf_counter()
    predictor.moments(path, replace(SETTINGS, lengths_s=lengths))
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
    predictor = searcher(classes, VideoModel.from_backbone("miniature"))
    seconds = search(path, predictor, SETTINGS.lengths_s[:lengths])
    print(f"{seconds:.1f} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")


def speed(minutes: float, runs: int, size: str, gop: int, longer: list[int]) -> None:
    """Times of the search, of its parts, and of the obvious script; what follows of them; and longer files."""
    model, frames, (patch, width, depth, _) = build_model(prompts=False, size=size), round(60 * minutes), SIZES[size]
    predictor, of_thousand = searcher(2, model), searcher(1000, model)
    pixels = torch.randint(0, 256, (64, 1, 1, 3, 224, 224), dtype=torch.uint8)
    vision = {"patch_size": patch, "hidden_size": width, "num_hidden_layers": depth}
    vision |= {"num_attention_heads": width // 64, "intermediate_size": 4 * width}
    peer, processor = CLIPModel(CLIPConfig(vision_config=vision)).eval(), CLIPImageProcessor()

    def tower(_: int) -> None:
        for first in range(0, frames, 64):
            predictor.encoder.tower_features(pixels[: min(64, frames - first)])

    def decode(_: int) -> None:
        reader = predictor.reader
        with open_video(path, *reader.options) as source:
            for _ in source.stream(plan_windows(source, SETTINGS, reader.sampling.num_frames).numbers, reader.resize):
                pass

    @torch.no_grad()
    def script(_: int) -> None:
        with av.open(str(path)) as container, predictor.encoder.autocast():
            chosen = (frame for n, frame in enumerate(container.decode(video=0)) if n % 30 == 15)
            while pictures := [frame.to_image() for frame in islice(chosen, 64)]:
                peer.get_image_features(**processor(images=pictures, return_tensors="pt"))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_file(path, round(minutes * 1800), 1280, 720, 30, gop)
        ways = {
            "search": lambda _: search(path, predictor),
            "search, one length of windows": lambda _: search(path, predictor, (8.0,)),
            "search, 1,000 classes": lambda _: search(path, of_thousand),
            "tower alone, on tensors": tower,
            "decoding and resizing alone": decode,
            "PyAV and transformers' CLIP": script,
        }
        times = measure(ways, range(runs))
        load = Path("/proc/loadavg").read_text().split()[0]
        what = f"{size}, {predictor.computed}, {minutes:g} minutes of 720p, {frames} frames, key frame every {gop}"
        print_table(f"{what}; {machine()}, {torch.get_num_threads()} threads, load {load}", times, "search")
        ours, (_, single, many, alone, decoding, theirs) = times["search"], times.values()
        print("\n| | wall | asked |\n|---|---:|---:|")
        for name, value, asked in (
            ("frames a second, of those of the tower alone", alone.over(ours, "wall"), "at least 0.8"),
            ("decoding and resizing, of the search", decoding.over(ours, "wall"), "at most 0.2"),
            ("four lengths of windows over one", ours.over(single, "wall"), "at most 1.3"),
            ("1,000 classes over 2", many.over(ours, "wall"), "1"),
            ("the obvious script over the search", theirs.over(ours, "wall"), ""),
            ("times as fast as the video plays", 60e3 * minutes / ours.median_ms("wall"), "15 (b16), 50 (b32)"),
        ):
            print(f"| {name} | {value:.2f} | {asked} |")
        print("\n| minutes | seconds | seconds a minute |\n|---:|---:|---:|")
        for factor in (1, *longer):
            repeat_file(path, Path(folder) / "longer.mp4", factor)
            seconds = search(Path(folder) / "longer.mp4", predictor)
            print(f"| {factor * minutes:g} | {seconds:.1f} | {seconds / factor / minutes:.2f} |", flush=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["memory", "speed", "one"])
    parser.add_argument("file", nargs="*", help="of one: file, classes, lengths")
    parser.add_argument("--hours", type=float, nargs="+", default=[1 / 6, 1, 6])
    parser.add_argument("--gops", type=int, nargs="+", default=[10, 250], help="frames from key frame to key frame")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--longer", type=int, nargs="*", default=[6, 36], help="further files, so many times as long")
    parser.add_argument("--size", choices=["b16", "b32"], default="b16")
    parser.add_argument("--gop", type=int, default=250)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    if options.what == "memory":
        memory(options.hours, options.gops)
    elif options.what == "speed":
        speed(options.minutes, options.runs, options.size, options.gop, options.longer)
    else:
        one(Path(options.file[0]), int(options.file[1]), int(options.file[2]))


if __name__ == "__main__":
    main()
