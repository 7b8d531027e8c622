"""A smaller copy of a data set, made for training: short side as trained on, key frames close together.

Axes: H x W pixels.
"""

import json
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from av.video.stream import VideoStream

from vitaclip.config import ResizeConfig
from vitaclip.data.lists.rows import is_video_name
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import open_video
from vitaclip.data.upkeep.scan import count_cores
from vitaclip.data.workers.processes import Outcome, name_problem, run_in_processes
from vitaclip.files import check_made_with, csv_text, replacing, write_text

SETTINGS_FILE = "resize.json"
FAILURES_FILE = "failures.csv"
_FALLBACK_RATE = Fraction(25)
_PRESET = "fast"
_TUNE = "fastdecode"  # leaves out what costs decoders most; files are a little larger for it


class Job(NamedTuple):
    """A video and its smaller copy."""

    source: Path
    target: Path


@dataclass(frozen=True)
class ResizePlan:
    """What is to be done."""

    jobs: tuple[Job, ...]
    finished: int
    """Videos whose copy is there already."""


def plan_resize(source: str | Path, target: str | Path, config: ResizeConfig) -> ResizePlan:
    """Finds the videos below a folder that have no copy yet. Copies keep their place; they end in `.mp4`.

    Raises:
        ValueError: no such folder, no video in it, one folder inside the other, two videos whose copies would bear one
            name, or copies made with other settings.
    """
    source, target = Path(source), Path(target)
    if not source.is_dir():
        what = "is a file, not a folder" if source.exists() else "does not exist"
        raise ValueError(f"{source}: {what}; give the folder of the videos")
    here, there = source.resolve(), target.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise ValueError(f"{target}: lies in {source}, or the other way round; name a folder beside it")
    videos = sorted(path for path in source.rglob("*") if is_video_name(path))
    if not videos:
        raise ValueError(f"{source}: holds no video, at any depth; give the folder of the videos")
    jobs: dict[Path, Job] = {}
    for video in videos:
        job = Job(video, target / video.relative_to(source).with_suffix(".mp4"))
        earlier = jobs.setdefault(job.target, job)
        if earlier is not job:
            raise ValueError(f"{earlier.source} and {video}: both would become {job.target}; rename one")
    check_made_with(target / SETTINGS_FILE, _settings(config))
    waiting = tuple(job for job in jobs.values() if not job.target.exists())
    return ResizePlan(waiting, len(jobs) - len(waiting))


def run_resize(plan: ResizePlan, target: str | Path, config: ResizeConfig) -> Generator[Outcome[Job, None], None, None]:
    """Shrinks the videos of a plan, several at a time; an outcome each, as they are done. What failed is also written
    to `failures.csv`; a run that is stopped goes on from what is there."""
    target = Path(target)
    write_text(target / SETTINGS_FILE, _settings(config))
    _remove_unfinished(target)
    failures: list[tuple[Path, str]] = []
    processes = config.workers or count_cores()
    task = partial(resize_job, config=config)
    try:
        with closing(run_in_processes(task, plan.jobs, processes, config.time_limit_seconds)) as outcomes:
            for outcome in outcomes:
                if outcome.ending != "done":
                    failures.append((outcome.item.source, name_problem(outcome.item.source, outcome.problem)))
                yield outcome
    finally:
        _remove_unfinished(target)
    (target / FAILURES_FILE).unlink(missing_ok=True)
    if failures:
        write_text(target / FAILURES_FILE, csv_text([("path", "problem"), *sorted(failures)]))


def resize_job(job: Job, config: ResizeConfig) -> None:
    """`resize_video` of a job."""
    resize_video(job.source, job.target, config)


def resize_video(source: Path, target: Path, config: ResizeConfig) -> None:
    """Writes a smaller copy as H.264 in mp4: every frame at its time, turned as it is to be shown, without sound.

    The first video stream counts. Sides are even; the shape of pixels and the meaning of colours stay. The file
    appears complete or not at all.

    Raises:
        VideoError: the source cannot be read to its end.
    """
    with open_video(source):
        pass  # so that what cannot be read is said in the usual words
    with (
        replacing(target) as temporary,
        av.open(str(source)) as container,
        av.open(str(temporary), "w", format="mp4") as output,
    ):
        stream = container.streams.video[0]
        writer: _Writer | None = None
        try:
            for frame in container.decode(stream):
                writer = writer or _Writer(output, stream, frame, config)
                if not writer.fits(frame):
                    raise VideoError(f"{source} changes its frame size midway: convert it to one size, or leave it out")
                writer.write(frame)
        except av.error.FFmpegError as error:
            reason = error.strerror or type(error).__name__
            raise VideoError(f"{source} is damaged ({reason}): copy it again or leave it out") from error
        if writer is None:
            raise VideoError(f"{source} holds no frame that can be decoded: copy it again or leave it out")
        writer.finish()


class _Writer:
    """Scales, turns and encodes frames of one video."""

    def __init__(self, output: OutputContainer, source: VideoStream, first: VideoFrame, config: ResizeConfig) -> None:
        self._output = output
        self._source_size = first.width, first.height
        self._size = _scaled(first.width, first.height, config.short_side)
        self._quarter_turns = round(first.rotation / 90) % 4  # counter-clockwise, as rot90 counts
        self._reformatter = VideoReformatter()
        self._start: int | None = None
        self._last = -1
        self._stream = output.add_stream("libx264", rate=source.average_rate or source.guessed_rate or _FALLBACK_RATE)
        context = self._stream.codec_context
        assert isinstance(context, VideoCodecContext)
        context.options = {"crf": str(config.quality), "preset": _PRESET, "tune": _TUNE}
        context.gop_size, context.pix_fmt, context.thread_count = config.key_frame_interval, "yuv420p", 1
        self._time_base = first.time_base or source.time_base or 1 / _FALLBACK_RATE
        context.time_base = self._time_base
        shape = source.sample_aspect_ratio
        turned = self._quarter_turns % 2 == 1
        context.width, context.height = self._size[::-1] if turned else self._size
        if shape:
            context.sample_aspect_ratio = 1 / shape if turned else shape
        # Brightness becomes limited range, which every reader takes for granted; the matrix stays as it is.
        full = first.color_range == ColorRange.JPEG or first.format.name.startswith("yuvj")
        self._source_range = ColorRange.JPEG if full else ColorRange.MPEG
        context.color_range = ColorRange.MPEG
        if first.format.name.startswith("yuv"):  # pictures of other kinds have no matrix to keep
            context.colorspace, context.color_primaries = first.colorspace, first.color_primaries
            context.color_trc = first.color_trc

    def fits(self, frame: VideoFrame) -> bool:
        """Whether a frame has the size of the first."""
        return (frame.width, frame.height) == self._source_size

    def write(self, frame: VideoFrame) -> None:
        """Encodes a frame."""
        width, height = self._size
        small = self._reformatter.reformat(
            frame,
            width,
            height,
            "yuv420p",
            interpolation="AREA",
            src_color_range=self._source_range,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        if self._quarter_turns:
            small = _turn(small, self._quarter_turns)
        small.pts, small.time_base = self._next_time(frame.pts), self._time_base
        small.pict_type = PictureType.NONE  # else the encoder would copy the source's choice of key frames
        self._output.mux(self._stream.encode(small))

    def finish(self) -> None:
        """Encodes what is left."""
        self._output.mux(self._stream.encode())

    def _next_time(self, time: int | None) -> int:
        """The time from the start on; one that is missing or does not rise comes right after the one before."""
        if self._start is None:
            self._start = time or 0
        self._last = max(self._last + 1, -1 if time is None else time - self._start)
        return self._last


def _scaled(width: int, height: int, short_side: int) -> tuple[int, int]:
    """(W, H), even, the shorter `short_side` unless it is smaller already."""
    factor = min(1.0, short_side / min(width, height))
    return max(2, 2 * round(width * factor / 2)), max(2, 2 * round(height * factor / 2))


def _turn(frame: VideoFrame, quarter_turns: int) -> VideoFrame:
    """A yuv420p frame turned counter-clockwise, plane by plane."""
    width, height = frame.width, frame.height
    packed = frame.to_ndarray().reshape(-1)
    luma = packed[: height * width].reshape(height, width)
    colours = packed[height * width :].reshape(2, height // 2, width // 2)
    turned = [np.rot90(luma, quarter_turns), *np.rot90(colours, quarter_turns, (1, 2))]
    rows = np.concatenate([np.ascontiguousarray(plane).reshape(-1, turned[0].shape[1]) for plane in turned])
    return VideoFrame.from_ndarray(rows, format="yuv420p")


def _settings(config: ResizeConfig) -> str:
    """What the copies depend on, as a line of JSON."""
    values = {name: value for name, value in asdict(config).items() if name not in ("workers", "time_limit_seconds")}
    return json.dumps(values) + "\n"


def _remove_unfinished(target: Path) -> None:
    """Removes what processes that were killed left."""
    for leftover in target.rglob(".*.mp4.*.tmp"):
        leftover.unlink()
