"""Time to read the frames of a clip, ours against others: one thread, one run, one after the other.

    python benchmarks/decoding.py --folder /tmp/clips --out decoding.json
    python benchmarks/decoding.py --folder /tmp/clips --table      is every kind of file read exactly?

TorchCodec (torchcodec==0.13.*, and FFmpeg's libraries), OpenCV (opencv-python-headless) and decord take part if they
can be imported; the others are named as not measured.
"""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata, util
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import av
import clips
import numpy as np
import timing
import torch
from av.video.reformatter import VideoReformatter
from torch import Tensor

from vitaclip.data.reading.container import DEFAULT_LIMITS, open_container, video_stream
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.frame_index import FrameIndex, read_index
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.transforms import FrameFit, spatial_views

Reader = Callable[[Path, np.ndarray], Tensor]
DISTRIBUTIONS = {
    "av": "av",
    "torch": "torch",
    "torchcodec": "torchcodec",
    "opencv-python-headless": "cv2",
    "decord": "decord",
}
TRAINING = FrameSampling("dense", 8, 16)
MEAN, STD = torch.tensor([0.481, 0.458, 0.408]), torch.tensor([0.269, 0.261, 0.276])


def ours(path: Path, indices: np.ndarray) -> Tensor:
    """As training and evaluation read."""
    with open_video(path) as video:
        return video.frames(indices)


def pyav(path: Path, indices: np.ndarray) -> Tensor:
    """All frames up to the last wanted one decoded, the wanted ones converted (by one converter, in one thread)."""
    convert, found = VideoReformatter(), {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count, stream.codec_context.thread_type = 1, "NONE"
        wanted, last = set(indices.tolist()), int(indices.max())
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                found[number] = torch.from_numpy(convert.reformat(frame, format="rgb24", threads=1).to_ndarray())
            if number == last:
                break
    return torch.stack([found[number] for number in indices.tolist()]).permute(0, 3, 1, 2)


def published(path: Path, indices: np.ndarray) -> Tensor:
    """The published training: all frames decoded and kept, the wanted ones converted."""
    with av.open(str(path)) as container:
        frames = _decode_and_keep(container)
        arrays = [frames[number].to_rgb().to_ndarray() for number in indices.tolist()]
        return torch.as_tensor(np.stack(arrays)).permute(0, 3, 1, 2)


def published_views(path: Path) -> Tensor:
    """The published test: all frames decoded, converted, normalised in float32 and resized; then three views."""
    with av.open(str(path)) as container:
        arrays = [frame.to_rgb().to_ndarray() for frame in _decode_and_keep(container)]
    video = torch.as_tensor(np.stack(arrays)).float().div_(255)
    video = ((video - MEAN) / STD).permute(3, 0, 1, 2)
    height, width = video.shape[-2:]
    size = (224, width * 224 // height) if height < width else (height * 224 // width, 224)
    video = torch.nn.functional.interpolate(video, size, mode="bilinear", align_corners=False)
    return torch.stack(
        [spatial_views(video.transpose(0, 1)[view], 224, 1)[0] for view in TRAINING.views(video.shape[1], 3)]
    )


def _decode_and_keep(container: av.container.InputContainer) -> list[av.VideoFrame]:
    container.streams.video[0].codec_context.thread_count = 1
    frames = {frame.pts: frame for frame in container.decode(video=0)}
    return [frames[time] for time in sorted(frames)]


def optional_readers() -> tuple[dict[str, Reader], list[str]]:
    """The peers that can be imported, and the names of those that cannot, with the reason."""
    readers: dict[str, Reader] = {}
    missing: list[str] = []
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError) as error:
        missing.append(f"TorchCodec ({str(error).splitlines()[0]})")
    else:

        def torchcodec(path: Path, indices: np.ndarray, seek_mode: str) -> Tensor:
            return VideoDecoder(path, num_ffmpeg_threads=1, seek_mode=seek_mode).get_frames_at(indices.tolist()).data

        readers["TorchCodec, exact"] = partial(torchcodec, seek_mode="exact")
        readers["TorchCodec, approximate"] = partial(torchcodec, seek_mode="approximate")
    try:
        import cv2
    except ImportError as error:
        missing.append(f"OpenCV ({error})")
    else:
        cv2.setNumThreads(1)

        def opencv(path: Path, indices: np.ndarray) -> Tensor:
            capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
            found, wanted = {}, set(indices.tolist())
            for number in range(max(wanted) + 1):
                capture.grab()
                if number in wanted:
                    found[number] = torch.from_numpy(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
            return torch.stack([found[number] for number in indices.tolist()]).permute(0, 3, 1, 2)

        readers["OpenCV"] = opencv
    try:
        import decord
    except (ImportError, OSError) as error:
        missing.append(f"decord ({error})")
    else:

        def read_by_decord(path: Path, indices: np.ndarray) -> Tensor:
            frames = decord.VideoReader(str(path), num_threads=1).get_batch(indices).asnumpy()
            return torch.from_numpy(frames).permute(0, 3, 1, 2)

        readers["decord"] = read_by_decord
    return readers, missing


def versions() -> str:
    """What is compared, each with its version."""
    found = {name: util.find_spec(module) for name, module in DISTRIBUTIONS.items()}
    return ", ".join(f"{name} {metadata.version(name)}" for name, spec in found.items() if spec is not None)


def what_is_read(path: Path, indices: np.ndarray) -> str:
    """How much of a file has to be decoded for some frames."""
    with open_container(path, DEFAULT_LIMITS) as container:
        stream = video_stream(path, container, DEFAULT_LIMITS)
        index = read_index(path, container, stream, DEFAULT_LIMITS)
    assert isinstance(index, FrameIndex)
    spans = index.spans(np.unique(indices).tolist())
    packets = sum(span.last_place - span.key_place + 1 for span in spans)
    return f"{len(spans)} stretches from a key frame on, {packets} of {len(index.packet_times)} frames"


def views(read: Reader, path: Path) -> Tensor:
    """Three test views, uint8 (3, 8, 3, 224, 224), with frames read in any way."""
    indices = TRAINING.views(10 * clips.FPS, 3)
    distinct, places = np.unique(indices, return_inverse=True)
    frames = spatial_views(FrameFit().resize(read(path, distinct), 224), 224, 1)[0]
    return frames[torch.from_numpy(places.reshape(indices.shape))]


def _same_each_time(read: Reader, path: Path, indices: np.ndarray) -> Callable[[int], Tensor]:
    return lambda _: read(path, indices)


def compare(options: argparse.Namespace) -> None:
    """All cases, printed and written."""
    torch.set_num_threads(1)
    short = [clips.make(clip, options.folder) for clip in clips.SHORT]
    peers, missing = optional_readers()
    readers = {"ours": ours, "PyAV": pyav, **peers}
    starts = [TRAINING.train(300, np.random.default_rng(run)) for run in range(options.runs * len(short))]
    for path, indices in zip(short, starts, strict=False):
        expected = pyav(path, indices)
        assert torch.equal(ours(path, indices), expected)
    cases = {}
    ways = {name: lambda run, read=read: read(short[run % len(short)], starts[run]) for name, read in readers.items()}
    ways["published procedure"] = lambda run: published(short[run % len(short)], starts[run])
    cases["training: 8 frames, stride 16, of 10 s"] = timing.measure(ways, range(len(starts)))
    ways = {name: lambda run, read=read: views(read, short[run % len(short)]) for name, read in readers.items()}
    ways["published procedure"] = lambda run: published_views(short[run % len(short)])
    cases["test: 3 views of 8 frames, stride 16, of 10 s"] = timing.measure(ways, range(2 * len(short)))
    for clip in clips.LONG:
        path = clips.make(clip, options.folder)
        indices = FrameSampling("segments", 16).views(clip.frames, 1)[0]
        ways = {name: _same_each_time(read, path, indices) for name, read in readers.items()}
        title = f"16 frames spread over {clip.seconds // 60} min: {what_is_read(path, indices)}"
        cases[title] = timing.measure(ways, range(options.long_runs))
    print(f"\n{timing.machine()}; {versions()}; one thread; {', '.join(clip.name for clip in clips.SHORT)}")
    print(f"not measured: {', '.join(missing) or 'none'}")
    for title, times in cases.items():
        timing.print_table(title, times, "ours")
    if options.out:
        settings = {"runs": options.runs, "long_runs": options.long_runs, "threads": 1}
        timing.write_json(options.out, {**settings, "versions": versions(), "not_measured": missing}, cases)


def print_kinds(folder: Path) -> None:
    """Every kind of file of the tests: frames by full decoding and ours, all of them one by one, and all at once."""
    from video_files import decode_all
    from video_kinds import KINDS

    print("| file | what | frames | a single frame is decoded from | all frames equal, one by one and together |")
    print("|---|---|---:|---|---|")
    folder.mkdir(parents=True, exist_ok=True)
    for name, kind in KINDS.items():
        kind.make(folder / name)
        everything = torch.from_numpy(decode_all(folder / name)).permute(0, 3, 1, 2)
        with open_video(folder / name) as video:
            equal = video.num_frames == len(everything)
            for indices in [*([number] for number in range(len(everything))), range(len(everything))]:
                equal = equal and torch.equal(video.frames(np.array(indices)), everything[list(indices)])
        answer = "yes" if equal else "NO"
        print(f"| {name} | {kind.what} | {len(everything)} | {kind.decoded_from} | {answer} |")


def main() -> None:
    """Compare speeds, or print the table of kinds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the files are made and kept")
    parser.add_argument("--out", type=Path, help="write all times to this .json file")
    parser.add_argument("--runs", type=int, default=10, help="training clips read of each file")
    parser.add_argument("--long-runs", type=int, default=7)
    parser.add_argument("--table", action="store_true", help="print the table of kinds instead")
    options = parser.parse_args()
    if options.table:
        print_kinds(options.folder / "kinds")
    else:
        compare(options)


if __name__ == "__main__":
    main()
