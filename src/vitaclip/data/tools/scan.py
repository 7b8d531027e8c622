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
from av.container import InputContainer

from vitaclip.data.config import VideoLimits
from vitaclip.data.labels import format_labels
from vitaclip.data.lists.list_file import read_list
from vitaclip.data.lists.sources import names_shards, read_shards
from vitaclip.data.lists.video_list import file_problems, is_video_name
from vitaclip.data.reading.container import DEFAULT_LIMITS, VideoError, first_video, open_container, read_packets
from vitaclip.data.reading.frame_folder import is_frame_folder, open_source
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.workers import run_in_processes
from vitaclip.files import csv_text, write_text
from vitaclip.names import in_words
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
_MISSING = {"seconds": 0.2, "frames": 3}


Targets = dict[VideoPath, str | None]
"""Videos to be checked, with class number or name as the clean list will have it; None where nothing says it."""


class BadVideo(NamedTuple):
    """A video, or a line of a list, that cannot be used."""

    path: VideoPath | None
    """None for a line that names no path."""
    kind: str
    """`list` (the line or the file it names), or how reading ended: see `Ending`."""
    problem: str
    """What is wrong, in one line that names the file."""


def find_targets(
    source: str, root: str | None = None, class_names: Sequence[str] | None = None
) -> tuple[Targets, list[BadVideo]]:
    """The videos of a list or of tar files, or all those of a folder at any depth; and what is bad at first sight.

    Raises:
        ValueError: a list that cannot be read, or nothing there.
    """
    if names_shards(source):
        videos = read_shards(source, class_names, check=False)
    elif Path(source).is_dir():
        return _folder_targets(Path(source)), []
    else:
        videos = read_list(source, root, class_names, check=False)
    names, wrong = videos.class_names, dict(file_problems(videos.samples))
    bad = [BadVideo(None, "list", problem) for problem in videos.problems]
    bad += [BadVideo(sample.path, "list", problem) for sample, problem in wrong.items()]
    return {
        sample.path: format_labels([names[label] for label in sample.labels] if names else sample.labels)
        for sample in videos.samples
        if sample not in wrong
    }, bad


def _folder_targets(folder: Path) -> Targets:
    """Videos at any depth; where they lie in class folders, the names of these are their labels."""
    paths = sorted(path for path in folder.rglob("*") if is_video_name(path) or is_frame_folder(path))
    if not paths:
        raise ValueError(f"{folder}: holds no video, at any depth; give the folder of the videos")
    in_class_folders = all(path.parent.parent == folder for path in paths)
    return {path: in_words(path.parent.name) if in_class_folders else None for path in paths}


def scan_videos(paths: Sequence[VideoPath], config: ScanConfig) -> Iterator[BadVideo | None]:
    """Check videos, several at a time, and yield what is wrong with each as it is done, None if nothing is. Neither a
    hang nor a crash of the codec can stop it."""
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
    with open_source(path, limits=limits) as video:
        if not isinstance(path, Path) or path.is_file():
            _check_end(path, limits)
        last = video.num_frames - 1
        video.frames([0, last // 2, last])
        return last + 1


def _check_end(path: VideoPath, limits: VideoLimits) -> None:
    """Raise VideoError if a file ends long before its stated end: a download that broke off often reads well as far as
    it goes."""
    with open_container(path, limits) as container:
        video = first_video(path, container)
        packets, ends = _read_packets(container, video.index)
        if container.format.name == "avi" and video.frames:
            # The length of an avi file without its end is a guess; but it states frames. Those that it repeats by
            # leaving them out are among them.
            has = max(packets, ends.get(video.index, 0.0) * float(video.average_rate or 0))
            of, what = float(video.frames), "frames"
        else:
            # Of all streams: sound may go on after the pictures. Frames would not do: edit lists hide some.
            has, of, what = max(ends.values(), default=0.0), (container.duration or 0) / av.time_base, "seconds"
    # A length beyond the limits is none that a file broke off from: live recordings may state anything.
    if of > {"frames": limits.frames, "seconds": 3600 * limits.hours}[what]:
        return
    if ends and of - has > max(_SHARE_MISSING * of, _MISSING[what]):
        raise VideoError(f"{path} is cut off ({has:.4g} of {of:.4g} {what}): copy it again or leave it out")


def _read_packets(container: InputContainer, video: int) -> tuple[int, dict[int, float]]:
    """Number of packets of the stream `video`; and the end of every stream in seconds, by its number."""
    start = (container.start_time or 0) / av.time_base
    packets, ends = 0, dict[int, float]()
    with suppress(av.error.FFmpegError):  # a file that breaks off may end in an error
        for packet in read_packets(container):
            packets += packet.stream_index == video and packet.size > 0
            time = packet.dts if packet.pts is None else packet.pts
            if time is not None and packet.time_base is not None:
                end = float((time + (packet.duration or 0)) * packet.time_base) - start
                ends[packet.stream_index] = max(end, ends.get(packet.stream_index, 0.0))
    return packets, ends


def write_scan(targets: Targets, bad: Sequence[BadVideo], out: str | Path) -> None:
    """Write `bad.csv` (path, kind, problem) and, if any target is good, `clean.csv`: full path and, if known, class."""
    rows = [(str(each.path or ""), each.kind, each.problem) for each in bad]
    write_text(Path(out) / "bad.csv", csv_text([("path", "kind", "problem"), *rows], for_people=True))
    bad_paths = {each.path for each in bad}
    good = [(path, label) for path, label in targets.items() if path not in bad_paths]
    if good:
        lines = [(path.absolute(), *(() if label is None else (label,))) for path, label in good]
        write_text(Path(out) / "clean.csv", csv_text(lines))


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
