"""What is done to a whole data set on disk: which files can be read, and what is wrong with the others; a smaller copy,
made for training, with key frames close together.

Axes: H x W pixels.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import av
import av.error
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from vitaclip.data.config import VideoLimits
from vitaclip.data.lists.sources import find_videos, list_text, names_shards, read_folder, read_shards
from vitaclip.data.lists.video_list import VideoList, VideoSample, file_problems, find_videos_below, read_list
from vitaclip.data.reading.container import DEFAULT_LIMITS, VideoError, first_video, open_container, read_packets
from vitaclip.data.reading.decode import Picture, Video, open_video
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.transforms import resize
from vitaclip.data.workers import Outcome, run_in_processes
from vitaclip.files import atomic_write, csv_text, write_text
from vitaclip.settings import Config, NonNegativeInt, PositiveFloat, PositiveInt, Rule, bounds


@dataclass(frozen=True, kw_only=True)
class ScanConfig(Config):
    """How the files of a data set are checked."""

    workers: NonNegativeInt = 0
    """Files that are read at a time, each in a process of its own; 0 = as many as there are cores."""
    time_limit_seconds: PositiveFloat = 60.0
    """A file that takes longer is bad; the process that reads it is killed, also when the codec hangs."""
    limits: VideoLimits = field(default_factory=VideoLimits)
    """What a video may be at most."""


_TICK = Fraction(1, 90_000)  # of the copies' clocks, in seconds
# A file that lacks more than this of its stated length is cut off; headers are a little wrong in many files.
_SHARE_MISSING = 0.1
_MISSING_SECONDS = 0.2


class BadVideo(NamedTuple):
    """A video, or a line of a list, that cannot be used."""

    path: VideoPath | None
    """None for a line that names no path."""
    kind: str
    """`list` (the line or the file it names), or how reading ended: see `Ending`."""
    problem: str
    """What is wrong, in one line that names the file."""


def find_targets(source: str, root: str | None = None, class_names: Sequence[str] | None = None) -> VideoList:
    """The videos of a list, of tar files, or of a folder; with labels, unless they lie in no class folders.

    Raises:
        ValueError: a list that cannot be read, or nothing there.
    """
    if names_shards(source):
        return read_shards(source, class_names)
    if not Path(source).is_dir():
        return read_list(source, root, class_names)
    try:
        return read_folder(source, class_names)
    except ValueError:
        return VideoList(tuple(VideoSample(path, (), str(path)) for path in find_videos([source])))


def scan_videos(videos: VideoList, config: ScanConfig) -> Iterator[BadVideo | None]:
    """Check videos, several at a time, and yield what is wrong with each as it is done, None if nothing is; first what
    is wrong at sight. Neither a hang nor a crash of the codec can stop it."""
    absent = dict(file_problems(videos.samples))
    yield from (BadVideo(None, "list", problem) for problem in videos.problems)
    yield from (BadVideo(sample.path, "list", problem) for sample, problem in absent.items())
    paths = [sample.path for sample in videos.samples if sample not in absent]
    check = partial(check_video, limits=config.limits)
    for outcome in run_in_processes(check, paths, config.workers or count_cores(), config.time_limit_seconds):
        yield BadVideo(outcome.item, outcome.ending, outcome.problem) if outcome.error else None


def check_video(path: VideoPath, limits: VideoLimits = DEFAULT_LIMITS) -> int:
    """Open a video, see whether the file goes on to its stated end, and decode its first, middle and last frame.

    Returns:
        The number of frames.

    Raises:
        VideoError: it cannot give the frames, is beyond the limits, or is cut off.
    """
    with open_video(path, limits=limits) as video:
        if not isinstance(path, Path) or path.is_file():
            _check_end(path, limits)
        last = video.num_frames - 1
        video.frames([0, last // 2, last])
        return last + 1


def _check_end(path: VideoPath, limits: VideoLimits) -> None:
    """Raise VideoError if a file ends long before its stated end: a download that broke off often reads well as far as
    it goes. The last of all streams counts, because sound may go on after the pictures."""
    with open_container(path, limits) as container:
        video, ends, packets = first_video(path, container), [0.0], 0
        start = (container.start_time or 0) / av.time_base
        with suppress(av.error.FFmpegError):  # a file that breaks off may end in an error
            for packet in read_packets(container):
                packets += packet.stream_index == video.index and packet.size > 0
                time = packet.dts if packet.pts is None else packet.pts
                if time is not None and packet.time_base is not None:
                    ends.append(float((time + (packet.duration or 0)) * packet.time_base) - start)
        has, of = max(ends), (container.duration or 0) / av.time_base
        if container.format.name == "avi" and video.frames and video.average_rate:
            # The length of an avi file without its end is a guess, but it states frames; those that it repeats by
            # leaving them out are among them.
            has, of = max(has, packets / float(video.average_rate)), video.frames / float(video.average_rate)
    # A length beyond the limits is none that a file broke off from: live recordings may state anything.
    if 0 < has < of - max(_MISSING_SECONDS, _SHARE_MISSING * of) and of <= 3600 * limits.hours:
        raise VideoError(f"{path} is cut off ({has:.4g} of {of:.4g} seconds): copy it again or leave it out")


def write_scan(videos: VideoList, bad: Sequence[BadVideo], out: str | Path) -> None:
    """Write `bad.csv` (path, kind, problem) and, if any video is good, `clean.csv`: full path and, if known, class."""
    rows = [(str(each.path or ""), each.kind, each.problem) for each in bad]
    write_text(Path(out) / "bad.csv", csv_text([("path", "kind", "problem"), *rows], for_people=True))
    bad_paths = {each.path for each in bad}
    good = [sample for sample in videos.samples if sample.path not in bad_paths]
    if good:
        write_text(Path(out) / "clean.csv", list_text(good, videos.class_names))


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class ResizeConfig(Config):
    """How the files of a data set are shrunk."""

    short_side: Annotated[int, Rule(lambda side: side >= 16 and side % 2 == 0, "give an even number from 16")] = 256
    """Pixels of the shorter side; smaller videos keep their size. Even, as H.264 wants it."""
    key_frame_interval: PositiveInt = 16
    """Frames from one key frame to the next, at most: few are decoded before a wanted one, but files grow."""
    quality: Annotated[int, bounds(ge=1, le=51)] = 23
    """x264's constant rate factor: 1 is the best, 18 next to the original, 23 x264's default, 51 the worst."""
    workers: NonNegativeInt = 0
    """Files that are shrunk at a time, each in a process of its own; 0 = as many as there are cores."""
    time_limit_seconds: PositiveFloat = 600.0
    """A file that takes longer fails; the process that shrinks it is killed, also when the codec hangs."""


def find_copies(source: str | Path, target: str | Path) -> dict[Path, Path]:
    """The videos below a folder with their copies, made or not. Copies keep their place; they end in `.mp4`.

    Raises:
        ValueError: no such folder, no video in it, one folder inside the other, or two videos whose copies would bear
            one name.
    """
    source, target = Path(source), Path(target)
    here, there = source.resolve(), target.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise ValueError(f"{target}: lies in {source}, or the other way round; name a folder beside it")
    of_copy: dict[Path, Path] = {}
    for video in (path for path in find_videos_below(source) if not path.is_dir()):
        copy = target / video.relative_to(source).with_suffix(".mp4")
        if of_copy.setdefault(copy, video) is not video:
            raise ValueError(f"{of_copy[copy]} and {video}: both would become {copy}; rename one")
    if not of_copy:
        raise ValueError(f"{source}: is no folder with a video, at any depth; give the folder of the videos")
    return {video: copy for copy, video in of_copy.items()}


def make_copies(copies: Mapping[Path, Path], target: str | Path, config: ResizeConfig) -> Iterator[Outcome[Path, None]]:
    """Shrink videos into the folder `target`, several at a time; an outcome each, as they are done.

    A run that is stopped leaves no half of a file.
    """
    task, processes = partial(_copy, copies, config), config.workers or count_cores()
    try:
        with closing(run_in_processes(task, copies, processes, config.time_limit_seconds)) as outcomes:
            yield from outcomes
    finally:
        for leftover in Path(target).rglob(".*.mp4.*.tmp"):  # of processes that were killed
            leftover.unlink()


def _copy(copies: Mapping[Path, Path], config: ResizeConfig, video: Path) -> None:
    resize_video(video, copies[video], config)


def resize_video(source: Path, target: Path, config: ResizeConfig) -> None:
    """Write a smaller copy as H.264 in mp4: every frame that decodes, at its time, turned as it is to be shown, without
    sound.

    Sides are even; the shape of pixels stays. The file appears complete or not at all.

    Raises:
        VideoError: the source cannot be read.
    """
    with open_container(source, DEFAULT_LIMITS, probe=False) as container:
        video = Video(source, container, DEFAULT_LIMITS, "stored")
        write_pictures(target, video.play(), video.fps, config)


def write_pictures(target: Path, pictures: Iterator[Picture], fps: float, config: ResizeConfig) -> None:
    """Write pictures as H.264 in mp4, the first at time 0. The file appears complete or not at all.

    Raises:
        VideoError: there is no picture.
    """
    with (
        atomic_write(target) as temporary,
        av.open(f"file:{temporary.absolute()}", "w", format="mp4") as output,
    ):
        stream = output.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        context = stream.codec_context
        assert isinstance(stream, VideoStream)
        assert isinstance(context, VideoCodecContext)
        start, last = None, -1
        for picture in pictures:
            if start is None:
                start = picture.time or Fraction(0)
                _prepare(context, picture, config)
            small = resize(picture.pixels[None], context.height, context.width)[0]
            rgb = VideoFrame.from_ndarray(small.permute(1, 2, 0).contiguous().numpy(), format="rgb24")
            frame = rgb.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG)
            # A time that is missing or does not rise comes right after the one before.
            last = max(last + 1, -1 if picture.time is None else round((picture.time - start) / _TICK))
            frame.pts, frame.time_base = last, _TICK
            output.mux(stream.encode(frame))
        if start is None:
            raise VideoError(f"{target}: no frame of its source can be decoded; copy that again or leave it out")
        output.mux(stream.encode())


def _prepare(context: VideoCodecContext, first: Picture, config: ResizeConfig) -> None:
    """Set the encoder: sides even, the shorter as wanted unless it is smaller already."""
    height, width = first.pixels.shape[1:]
    factor = min(1.0, config.short_side / min(width, height))
    context.width, context.height = (max(2, 2 * round(side * factor / 2)) for side in (width, height))
    context.sample_aspect_ratio, context.time_base = first.pixel_aspect, _TICK
    # fastdecode leaves out what costs decoders most; files are a little larger for it.
    context.options = {"crf": str(config.quality), "preset": "fast", "tune": "fastdecode"}
    context.gop_size, context.pix_fmt, context.thread_count = config.key_frame_interval, "yuv420p", 1
    context.color_range, context.colorspace = ColorRange.MPEG, Colorspace.ITU601
