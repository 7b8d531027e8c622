"""Which files of a data set can be read, and what is wrong with the others."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av
import av.error

from vitaclip.data.config import VideoLimits
from vitaclip.data.lists.selection import list_text
from vitaclip.data.lists.sources import find_videos, names_shards, read_folder, read_shards
from vitaclip.data.lists.video_list import VideoList, VideoSample, file_problems, read_list
from vitaclip.data.reading.container import DEFAULT_LIMITS, VideoError, first_video, open_container, read_packets
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.workers import run_in_processes
from vitaclip.files import csv_text, write_text
from vitaclip.settings import Config, NonNegativeInt, PositiveFloat


@dataclass(frozen=True, kw_only=True)
class ScanConfig(Config):
    """How the files of a data set are checked."""

    workers: NonNegativeInt = 0
    """Files that are read at a time, each in a process of its own; 0 = as many as there are cores."""
    time_limit_seconds: PositiveFloat = 60.0
    """A file that takes longer is bad; the process that reads it is killed, also when the codec hangs."""
    limits: VideoLimits = field(default_factory=VideoLimits)
    """What a video may be at most."""


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
