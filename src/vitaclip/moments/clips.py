"""Cutting the segments of a video into files of their own."""

import glob
import itertools
import re
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from vitaclip.data.config import VideoLimits
from vitaclip.data.reading.container import DEFAULT_LIMITS, as_video_error, first_video, open_container, read_packets
from vitaclip.data.reading.decode import Picture, open_video
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.tools import ResizeConfig, write_pictures
from vitaclip.files import atomic_write, check_place
from vitaclip.moments.formats import video_name
from vitaclip.moments.table import Moments, Segment
from vitaclip.settings import MAX_IMAGE_SIZE

_QUALITY = 18
"""x264's constant rate factor of exact clips: next to the original."""
_LONGEST_STEM = 100
_STRETCH = Fraction(20)  # seconds


def check_clips(folder: str | Path, stems: Iterable[str]) -> None:
    """Make sure, before the long work, that clips whose names begin so can be written to a folder.

    Raises:
        ValueError: the folder is a file, or holds such clips already, which would be written over.
        OSError: the system refuses.
    """
    check_place(Path(folder) / "clip.mp4")
    for stem in stems:
        for file in Path(folder).glob(f"{glob.escape(stem[:_LONGEST_STEM])}_[0-9][0-9][0-9]_*"):
            check_place(file, new=True)


def cut_clips(
    moments: Moments, folder: str | Path, exact: bool = False, limits: VideoLimits = DEFAULT_LIMITS, stem: str = ""
) -> list[Path]:
    """Write a file for each segment, `VIDEO_001_LABEL.mp4`, and return their paths. See `check_clips`.

    Args:
        moments: of a video file.
        folder: made if it does not exist.
        exact: encode anew as H.264, without sound, from the segment's first frame to its last. Else packets of picture
            and sound are copied as they are, which takes no time and loses nothing; the clip then starts at the key
            frame before the segment. Those of a file that is no mp4 become a .mkv.
        limits: what the video may be at most.
        stem: what the names begin with, in place of the video's.

    Raises:
        VideoError: the video cannot be read.

    >>> cut_clips(predictor.moments("film.mp4"), "clips")  # doctest: +SKIP
    [PosixPath('clips/film_001_red_heart_growing.mp4')]
    """
    files, stem = list[Path](), stem or video_name(moments.path)
    for n, segment in enumerate(moments.segments, 1):
        label = re.sub(r"\W+", "_", segment.label).strip("_")[:40]
        file = Path(folder) / f"{stem[:_LONGEST_STEM]}_{n:03}_{label}.mp4"
        with as_video_error(moments.path):
            files.append((_encode if exact else _copy)(moments.path, segment, file, limits))
    return files


def _encode(path: VideoPath, segment: Segment, file: Path, limits: VideoLimits) -> Path:
    with open_video(path, limits) as video:
        numbers = np.flatnonzero((video.times >= segment.start_s) & (video.times < segment.end_s))
        times, frames = video.times[numbers].tolist(), video.stream(numbers)
        pictures = (Picture(Fraction(at), one, Fraction(1)) for at, one in zip(times, frames, strict=True))
        config = ResizeConfig(short_side=MAX_IMAGE_SIZE, quality=_QUALITY)
        write_pictures(file, pictures, video.fps, config)
    return file


def _copy(path: VideoPath, segment: Segment, file: Path, limits: VideoLimits) -> Path:
    with open_container(path, limits) as source:
        mp4 = "mp4" in source.format.name
        file = file if mp4 else file.with_suffix(".mkv")
        with (
            atomic_write(file) as temporary,
            av.open(f"file:{temporary.absolute()}", "w", format="mp4" if mp4 else "matroska") as target,
        ):
            _copy_packets(source, first_video(path, source), segment, target)
    return file


def _copy_packets(source: InputContainer, video: VideoStream, segment: Segment, target: OutputContainer) -> None:
    """Copy picture and sound from the key frame before a segment to its end, their times from 0 on."""
    copies = {stream.index: target.add_stream_from_template(stream) for stream in (video, *source.streams.audio[:1])}
    assert video.time_base is not None
    zero = (video.start_time or 0) * video.time_base
    seek_to, key = _key_frame_before(source, video, zero + Fraction(segment.start_s))
    source.seek(seek_to, stream=video)
    started = False
    for packet in read_packets(source):
        started = started or (packet.stream is video and packet.pts == key)
        if not started or packet.pts is None or packet.stream.index not in copies:
            continue
        shift = round(key * video.time_base / packet.time_base)
        stored = packet.pts if packet.dts is None else packet.dts  # the muxer fills in what matroska does not state
        if packet.stream is video and stored * video.time_base >= zero + Fraction(segment.end_s):
            break
        packet.dts = None if packet.dts is None else packet.dts - shift
        packet.pts, packet.stream = packet.pts - shift, copies[packet.stream.index]
        target.mux(packet)


def _key_frame_before(source: InputContainer, video: VideoStream, time: Fraction) -> tuple[int, int]:
    """Where to seek, and the time of the last key frame not after `time`, both in ticks of the stream. Some formats
    seek to what is no key frame, and so a stretch before it is read; where it holds none, everything."""
    assert video.time_base is not None
    wanted, before = round(time / video.time_base), round(_STRETCH / video.time_base)
    for seek_to in (wanted, wanted - before, video.start_time or 0):
        source.seek(seek_to, stream=video)
        packets = itertools.takewhile(lambda it: it.dts is None or it.dts <= wanted, read_packets(source, video))
        keys = [each.pts for each in packets if each.is_keyframe and each.pts is not None and each.pts <= wanted]
        if keys:
            return seek_to, keys[-1]
    raise ValueError(f"no key frame before {float(time):g} s; cut exact clips")
