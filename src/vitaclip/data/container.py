"""Opening a video file and choosing its stream."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from vitaclip.data.shards.member import ShardError, VideoPath

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
def open_container(path: VideoPath, probe: bool = True) -> Iterator[InputContainer]:
    """Opens a file with FFmpeg; it is closed when the block ends.

    Args:
        path: the file, or member of a tar file.
        probe: False spares mp4 files, which state nearly everything in their header, the decoding of some frames;
            whether a decoder reorders frames may then be unknown.

    Raises:
        VideoError: missing, empty, a folder, not a video, or damaged beyond reading.
    """
    if isinstance(path, Path):
        _check_is_file(path)
    with ExitStack() as opened:
        try:
            yield _open(path, probe, opened)
        except ShardError as error:  # while opening, or later while the block reads
            raise VideoError(f"{path} {error}") from error


def _check_is_file(path: Path) -> None:
    if not path.exists():
        raise VideoError(f"{path} does not exist: check the path")
    if path.is_dir():
        raise VideoError(f"{path} is a folder, not a video: give the files in it")


def _open(path: VideoPath, probe: bool, opened: ExitStack) -> InputContainer:
    """FFmpeg opens files by itself; what lies in a tar file it reads through us."""
    try:
        file = opened.enter_context(path.open("rb"))
        start = file.read(8)
        if not start:
            raise VideoError(f"{path} is empty (0 bytes): copy or download it again")
        file.seek(0)
        options = {} if probe or start[4:] != _MP4_SIGNATURE else _NO_PROBING
        container = av.open(str(path) if isinstance(path, Path) else file, "r", options=options)
        return opened.enter_context(container)
    except ShardError:
        raise
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise VideoError(
            f"{path} cannot be read as a video ({reason}): damaged, incomplete or none; copy it again"
        ) from error


def video_stream(path: VideoPath, container: InputContainer) -> VideoStream:
    """The first video stream that is no cover picture, set to decode in one thread; all other streams are left unread.

    More threads gain nothing on short clips, and workers share the processor already.

    Raises:
        VideoError: there is none, or FFmpeg has no decoder for it.
    """
    stream = next((s for s in container.streams.video if not s.disposition & _STILL_PICTURES), None)
    if stream is None:
        raise VideoError(f"{path} holds no video stream: leave it out")
    context: object | None = stream.codec_context  # None where FFmpeg has no decoder
    if context is None:
        raise VideoError(f"{path} has a codec that FFmpeg cannot decode: convert it to H.264")
    stream.codec_context.thread_count = 1
    stream.codec_context.thread_type = "NONE"
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    return stream
