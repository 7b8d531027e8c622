"""Opening a video file and choosing its stream."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from vitaclip.config import VideoLimits
from vitaclip.data.reading.member import ShardError, VideoPath

DEFAULT_LIMITS = VideoLimits()

VIDEO_SUFFIXES = frozenset(
    """.3gp .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts
    .ogv .ts .vob .webm .wmv .y4m""".split()  # noqa: SIM905 - a list of words reads best
)
"""File endings that count as videos in folders and tar files. A list may name any file."""

_STILL_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
# FFmpeg decodes the first frames of every stream to learn what a file does not state.
_NO_PROBING = {"skip_frame": "all", "probesize": "32"}
_MP4_SIGNATURE = b"ftyp"  # at byte 4


class VideoError(ValueError):
    """A video file that cannot give the frames asked for. One line: path, what is wrong, remedy."""


@contextmanager
def open_container(path: VideoPath, limits: VideoLimits, probe: bool = True) -> Iterator[InputContainer]:
    """Opens a file with FFmpeg; it is closed when the block ends.

    Args:
        path: the file, or member of a tar file.
        limits: larger pictures are not decoded to learn about the file.
        probe: False spares mp4 files, which state nearly everything in their header, the decoding of some frames;
            whether a decoder reorders frames may then be unknown.

    Raises:
        VideoError: missing, empty, a folder, not a video, or damaged beyond reading.
    """
    with ExitStack() as opened:
        try:
            yield _open(path, limits, probe, opened)
        except ShardError as error:  # while opening, or later while the block reads
            raise VideoError(f"{path} {error}") from error


def _check_is_file(path: Path) -> None:
    if not path.exists():
        raise VideoError(f"{path} does not exist: check the path")
    if path.is_dir():
        raise VideoError(f"{path} is a folder, not a video: give the files in it")


def _open(path: VideoPath, limits: VideoLimits, probe: bool, opened: ExitStack) -> InputContainer:
    """FFmpeg opens files by itself; what lies in a tar file it reads through us."""
    try:
        if isinstance(path, Path):
            _check_is_file(path)
        file = opened.enter_context(path.open("rb"))
        start = file.read(8)
        if not start:
            raise VideoError(f"{path} is empty (0 bytes): copy or download it again")
        file.seek(0)
        options = _codec_options(limits) | ({} if probe or start[4:] != _MP4_SIGNATURE else _NO_PROBING)
        source = str(path) if isinstance(path, Path) else file
        return opened.enter_context(av.open(source, "r", options=options, metadata_errors="replace"))
    except ShardError:
        raise
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise VideoError(
            f"{path} cannot be read as a video ({reason}): damaged, incomplete or none; copy it again"
        ) from error


def video_stream(path: VideoPath, container: InputContainer, limits: VideoLimits) -> VideoStream:
    """The first video stream that is no cover picture, set to decode in one thread; all other streams are left unread.

    More threads gain nothing on short clips, and workers share the processor already.

    Raises:
        VideoError: there is none, FFmpeg has no decoder for it, or it states that it is beyond the limits.
    """
    stream = next((s for s in container.streams.video if not s.disposition & _STILL_PICTURES), None)
    if stream is None:
        raise VideoError(f"{path} holds no video stream: leave it out")
    context: object | None = stream.codec_context  # None where FFmpeg has no decoder
    if context is None:
        raise VideoError(f"{path} has a codec that FFmpeg cannot decode: convert it to H.264")
    _check_stated(path, container, stream, limits)
    stream.codec_context.options = _codec_options(limits)
    stream.codec_context.thread_count = 1
    stream.codec_context.thread_type = "NONE"
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    return stream


def read_packets(container: InputContainer, *streams: VideoStream) -> Iterator["Packet[Any]"]:
    """Packets of the streams, or of all, from where the container is on, with empty ones at the end.

    Raises:
        av.error.FFmpegError: what follows cannot be read.
    """
    while True:
        try:
            yield from container.demux(*streams)
            return
        except IndexError:
            # A packet of a stream that was not there when the file was opened; PyAV stumbles over it, and can go on.
            continue


def beyond(path: VideoPath, what: str, limit: str, limits: VideoLimits) -> VideoError:
    """The error for a video that has more of something than the limit of this name."""
    return VideoError(
        f"{path} has {what}, beyond limits.{limit} = {getattr(limits, limit)}: copy it again, or raise the limit"
    )


def _check_stated(path: VideoPath, container: InputContainer, stream: VideoStream, limits: VideoLimits) -> None:
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > limits.pixels:
        raise beyond(path, f"frames of {width} x {height} pixels", "pixels", limits)
    if stream.frames > limits.frames:
        raise beyond(path, f"{stream.frames} frames", "frames", limits)
    seconds = (container.duration or 0) / av.time_base
    if seconds > 3600 * limits.hours:
        raise beyond(path, f"{seconds / 3600:.1f} hours", "hours", limits)


def _codec_options(limits: VideoLimits) -> dict[str, str]:
    """FFmpeg's own check, before it takes memory for a picture: a stream may state another size at any time."""
    return {"max_pixels": str(limits.pixels)}
