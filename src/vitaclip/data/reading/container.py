"""Opening a video file and choosing its stream.

This is where FFmpeg is given something to read; streams and cameras alone come in elsewhere (`live`). It never gets a
name: a file is an open descriptor, a member of a tar file or a video in memory is bytes that come through Python. So no
name can be taken for a protocol, a pattern or a time, and formats whose content names other files or addresses
(playlists, SDP, lists of files, devices) are not among the known. And FFmpeg would take memory for each sample that the
tables of an mp4 file state: they are counted before it tells.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO, RawIOBase
from pathlib import Path
from typing import IO, Any

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from vitaclip.data.config import VideoLimits
from vitaclip.data.reading.path import GivenVideo, MemberFile, ShardMember, VideoPath
from vitaclip.strings import one_line

_File = IO[bytes] | MemberFile | RawIOBase

DEFAULT_LIMITS = VideoLimits()

VIDEO_SUFFIXES = frozenset(
    """.3gp .avi .flv .gif .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts
    .ogv .ts .vob .webm .wmv .y4m""".split()  # noqa: SIM905 - a list of words reads best
)
"""File endings that count as videos in folders and tar files. A list may name any file."""

_FORMATS = ",".join(
    """mov matroska avi mpegts mpeg mpegvideo flv kux asf asf_o ogg gif apng nut mxf dv rm ivr nsv wtv swf gxf lxf nuv
    ty pva dhav amv h261 h263 h264 hevc vvc hxvs m4v vc1 vc1test av1 obu ivf evc apv dirac cavsvideo avs2 avs3 dnxhd
    mjpeg mjpeg_2000 smjpeg ingenient mpjpeg yuv4mpegpipe jpegxl_anim cine r3d mlv ser film_cpk ea roq smk bink flic 4xm
    idcin rpl mv thp vivo moflex usm wav mp3 aac flac""".split()  # noqa: SIM905 - a list of words reads best
)
"""FFmpeg's names of the formats that are read, those of sound so that they can be named. None opens anything else."""
_STILL_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
# FFmpeg decodes the first frames of every stream to learn what a file does not state.
_NO_PROBING = {"skip_frame": "all", "probesize": "32"}
_MP4_SIGNATURE = b"ftyp"  # at byte 4
_MP4_PARENTS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"))
_DEEPEST_BOX = 8
_LONGEST = 32  # times the short side; 224 pixels of a short side are then 5 MB a frame, at most
_MOST_CUT_OFF = 4  # a file whose end is missing states this many times as many bytes, at most


class VideoError(ValueError):
    """A video file that cannot give the frames asked for. One line: path, what is wrong, remedy."""


@contextmanager
def as_video_error(path: object) -> Iterator[None]:
    """Turn whatever reading a video fails with into a VideoError that names the video.

    Decoders, Pillow, numpy and torch raise errors of every kind for files that nobody thought of, MemoryError among
    them. The file is at fault, so the file alone is passed over.
    """
    try:
        yield
    except VideoError:
        raise
    except Exception as error:
        reason = one_line(error) or "no more is known"
        raise VideoError(f"{path} cannot be read ({type(error).__name__}: {reason}): leave it out") from error


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
            file: _File = _open_given(path) if isinstance(path, GivenVideo) else _open_file(path)
            opened.enter_context(file)
            start = file.read(8)
            if not start:
                raise VideoError(f"{path} is empty (0 bytes): copy or download it again")
            is_mp4 = start[4:] == _MP4_SIGNATURE
            _check_samples(path, file, limits)
            file.seek(0)
            options = codec_options(limits) | ({} if probe or not is_mp4 else _NO_PROBING)
            container = opened.enter_context(open_in_ffmpeg(file, options))
        except (av.error.FFmpegError, OSError) as error:
            reason = error.strerror or type(error).__name__
            raise VideoError(
                f"{path} cannot be read as a video ({reason}): damaged, incomplete or none; copy it again"
            ) from error
        yield container


def open_in_ffmpeg(file: _File, options: dict[str, str]) -> InputContainer:
    """Opens a file of the known formats with FFmpeg; every other format or protocol is refused."""
    source: Any = file
    known = {"format_whitelist": _FORMATS, "protocol_whitelist": ""}
    if not isinstance(file, MemberFile | BytesIO | RawIOBase):
        # FFmpeg reads by a copy of the descriptor, whose place in the file both share.
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        source, known = "fd:", known | {"protocol_whitelist": "fd", "fd": str(file.fileno())}
    return av.open(source, "r", options=options, container_options=known, metadata_errors="replace")


def _open_given(video: GivenVideo) -> IO[bytes]:
    try:
        return video.open()
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise VideoError(f"{video} {video.absence.format(reason)}") from error


def _open_file(path: Path | ShardMember) -> _File:
    if isinstance(path, ShardMember):
        return path.open()
    if path.is_symlink() and not path.exists():
        raise VideoError(f"{path} is a link to {path.readlink()}, which is not there: correct or remove it")
    if not path.exists():
        raise VideoError(f"{path} does not exist: check the path")
    if path.is_dir():
        raise VideoError(f"{path} is a folder, not a video: give the files in it")
    if not path.is_file():
        raise VideoError(f"{path} is a pipe or device, not a file: leave it out")
    return path.open("rb")


def _check_samples(path: VideoPath, file: _File, limits: VideoLimits) -> None:
    """Raises VideoError if an mp4 file states more samples than the limits allow, because FFmpeg allocates memory for
    each while it opens the file."""
    end = file.seek(0, os.SEEK_END)
    for is_video, count, size in stated_samples(file, end):
        if count > limits.frames and (is_video or count * size > _MOST_CUT_OFF * end):
            raise limit_error(path, f"{count} {'frames' if is_video else 'samples'}", "frames", limits)


def first_video(path: VideoPath, container: InputContainer) -> VideoStream:
    """The first video stream that is no cover picture.

    Raises:
        VideoError: there is none.
    """
    stream = next((s for s in container.streams.video if not s.disposition & _STILL_PICTURES), None)
    if stream is None:
        raise VideoError(f"{path} holds no video stream: leave it out")
    return stream


def video_stream(path: VideoPath, container: InputContainer, limits: VideoLimits) -> VideoStream:
    """`first_video`, set to decode in one thread; all other streams are left unread.

    More threads gain nothing on short clips, and workers share the processor already.

    Raises:
        VideoError: there is none, FFmpeg has no decoder for it, or it states that it is beyond the limits.
    """
    stream = first_video(path, container)
    context: object | None = stream.codec_context  # None where FFmpeg has no decoder
    if context is None:
        raise VideoError(f"{path} has a codec that FFmpeg cannot decode: convert it to H.264")
    check_size(path, stream.codec_context.width, stream.codec_context.height, limits)
    # FFmpeg takes an H.264 stream that does not say how far its frames are stored out of order for one in order, until
    # it loses some; strictly, it takes the standard's bound.
    strict = {"strict": "1"} if stream.codec_context.name == "h264" else {}
    stream.codec_context.options = codec_options(limits) | strict
    stream.codec_context.thread_count = 1
    stream.codec_context.thread_type = "NONE"
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    return stream


def read_packets(container: InputContainer, *streams: VideoStream) -> Iterator["Packet[Any]"]:
    """Yields packets of the streams, or of all streams, from the present position on; the last ones are empty.

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


def check_size(path: VideoPath, width: int, height: int, limits: VideoLimits, note: str = "") -> None:
    """Raises VideoError for a picture that is too large, or so thin that it would be after its short side is resized;
    `note` follows the size in the message."""
    if width * height > limits.pixels:
        raise limit_error(path, f"frames of {width} x {height} pixels{note}", "pixels", limits)
    if max(width, height) > _LONGEST * min(width, height):
        raise VideoError(
            f"{path} has frames of {width} x {height} pixels{note}, one side more than {_LONGEST} times the other:"
            " leave it out"
        )


def limit_error(path: VideoPath, what: str, limit: str, limits: VideoLimits) -> VideoError:
    """The error for a video that exceeds the limit of this name; `what` says what the video has."""
    return VideoError(
        f"{path} has {what}, beyond limits.{limit} = {getattr(limits, limit)}: copy it again, or raise the limit"
    )


def codec_options(limits: VideoLimits) -> dict[str, str]:
    """FFmpeg's own check, before it takes memory for a picture: a stream may state another size at any time."""
    return {"max_pixels": str(limits.pixels)}


def stated_samples(file: IO[bytes] | RawIOBase, end: int) -> Iterator[tuple[bool, int, int]]:
    """For each table of sizes: whether it is a video's, the number of samples, and the bytes of each, 0 if they differ.
    The tables of fragments are counted together, a byte a sample: they do not say what they are of.

    Args:
        file: any file; one that is no mp4 file has no tables.
        end: its length in bytes.
    """
    in_fragments = 0
    for kind, is_video, count, size in _tables(file, 0, end, False, 0):
        in_fragments += count if kind == b"trun" else 0
        yield (False, in_fragments, 1) if kind == b"trun" else (is_video, count, size)


def _tables(
    file: IO[bytes] | RawIOBase, place: int, end: int, is_video: bool, depth: int
) -> Iterator[tuple[bytes, bool, int, int]]:
    """Those in a box that reaches from `place` to `end`. Source: ISO/IEC 14496-12, section 4.2 and the boxes named."""
    while place + 8 <= end:
        file.seek(place)
        head = (file.read(32) or b"").ljust(32, b"\0")
        length, kind = struct.unpack_from(">I4s", head)
        content = 8
        if length == 1:
            (length,), content = struct.unpack_from(">Q", head, 8), 16
        stop = min(end, place + length) if length else end
        if stop < place + content:
            return
        if kind == b"hdlr":
            is_video |= head[content + 8 : content + 12] == b"vide"  # QuickTime's minf has one more, of the data
        elif kind in (b"stsz", b"stz2"):
            size, count = struct.unpack_from(">II", head, content + 4)
            yield kind, is_video, count, size if kind == b"stsz" else 0
        elif kind == b"trun":
            yield kind, False, struct.unpack_from(">I", head, content + 4)[0], 0
        elif kind in _MP4_PARENTS and depth < _DEEPEST_BOX:
            yield from _tables(file, place + content, stop, is_video, depth + 1)
        place = stop
