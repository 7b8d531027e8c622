"""A smaller copy of a data set, made for training: short side as trained on, key frames close together.

Axes: H x W pixels.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from vitaclip.data.lists.video_list import find_videos_below
from vitaclip.data.reading.container import DEFAULT_LIMITS, VideoError, open_container
from vitaclip.data.reading.decode import Picture, Video
from vitaclip.data.tools.scan import count_cores
from vitaclip.data.transforms import resize
from vitaclip.data.workers import Outcome, run_in_processes
from vitaclip.files import atomic_write
from vitaclip.settings import Config, NonNegativeInt, PositiveFloat, PositiveInt, Rule, bounds


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


_TICK = Fraction(1, 90_000)  # of the copies' clocks, in seconds


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
