"""Opening a video file and choosing its stream."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from vitaclip.config import VideoLimits

DEFAULT_LIMITS = VideoLimits()

_STILL_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
# FFmpeg decodes the first frames of every stream to learn what a file does not state.
_NO_PROBING = {"skip_frame": "all", "probesize": "32"}
_MP4_SIGNATURE = b"ftyp"  # at byte 4


class VideoError(ValueError):
    """A video file that cannot give the frames asked for. One line: path, what is wrong, remedy."""


@contextmanager
def open_container(path: Path, limits: VideoLimits, probe: bool = True) -> Iterator[InputContainer]:
    """Opens a file with FFmpeg; it is closed when the block ends.

    Args:
        path: the file.
        limits: larger pictures are not decoded to learn about the file.
        probe: False spares mp4 files, which state nearly everything in their header, the decoding of some frames;
            whether a decoder reorders frames may then be unknown.

    Raises:
        VideoError: missing, empty, a folder, not a video, or damaged beyond reading.
    """
    try:
        if not path.exists():
            raise VideoError(f"{path} does not exist: check the path")
        if path.is_dir():
            raise VideoError(f"{path} is a folder, not a video: give the files in it")
        if path.stat().st_size == 0:
            raise VideoError(f"{path} is empty (0 bytes): copy or download it again")
        options = _codec_options(limits) | ({} if probe or not _is_mp4(path) else _NO_PROBING)
        container = av.open(str(path), options=options, metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise VideoError(
            f"{path} cannot be read as a video ({reason}): damaged, incomplete or none; copy it again"
        ) from error
    with container:
        yield container


def _is_mp4(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8)[4:] == _MP4_SIGNATURE


def video_stream(path: Path, container: InputContainer, limits: VideoLimits) -> VideoStream:
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


def beyond(path: Path, what: str, limit: str, limits: VideoLimits) -> VideoError:
    """The error for a video that has more of something than the limit of this name."""
    return VideoError(
        f"{path} has {what}, beyond limits.{limit} = {getattr(limits, limit)}: copy it again, or raise the limit"
    )


def _check_stated(path: Path, container: InputContainer, stream: VideoStream, limits: VideoLimits) -> None:
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
