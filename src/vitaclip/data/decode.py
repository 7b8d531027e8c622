"""Exactly the wanted frames of a video file, as bytes.

Frame times are read from the packets without decoding; then the decoder starts at the key frame before the
first wanted frame and stops after the last one. Whatever looks unusual (no times, repeated times, interlaced
fields, damage, a seek that lands elsewhere) is decoded from the first packet on instead: slower, same frames.

Axes: n frames, H x W pixels as displayed.
"""

import bisect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
import av.error
import numpy as np
import torch
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

# Decoders that emit one frame for each packet. Others (VP8 hides frames, say) are counted by decoding.
_ONE_FRAME_PER_PACKET = frozenset(
    """h264 hevc av1 libdav1d vp9 libvpx-vp9 mpeg1video mpeg2video mpeg4 h263
    mjpeg prores dnxhd ffv1 gif apng png""".split()  # noqa: SIM905 - a list of words reads best
)
_FIELD_ORDER_UNKNOWN, _FIELD_ORDER_PROGRESSIVE = 0, 1
_FALLBACK_FPS = 25.0  # what FFmpeg assumes for a stream that states no rate


class VideoError(ValueError):
    """A video file that cannot give the frames asked for. One line: path, what is wrong, remedy."""


@contextmanager
def open_video(path: str | Path) -> Iterator["Video"]:
    """Opens a video file for reading frames.

    Args:
        path: any file that FFmpeg reads.

    Yields:
        The `Video`; it is closed when the block ends.

    Raises:
        VideoError: missing, empty, a folder, not a video, damaged beyond reading, or without a video stream.
    """
    path = Path(path)
    with _open_container(path) as container:
        yield Video(path, container)


@dataclass(frozen=True)
class _PacketIndex:
    """What the packets of a stream say before any decoding. Times are in units of the stream's time base."""

    times: list[int]  # of the displayed frames, ascending
    key_times: list[int]  # of the key frames, ascending, those before the first displayed frame included
    decode_times: dict[int, int | None]  # of the key frames


class Video:
    """An open video file. Made by `open_video`."""

    def __init__(self, path: Path, container: InputContainer) -> None:
        self.path = path
        self._container = container
        self._stream = _video_stream(path, container)
        self._index = _read_index(container, self._stream)
        self._reformatter = VideoReformatter()

    @cached_property
    def num_frames(self) -> int:
        """Number of frames that decoding the whole file gives, at least 1.

        Read from the packets where they can be trusted; a file damaged inside may hold fewer, and asking for
        those it lacks is a VideoError.
        """
        if self._index is not None:
            return len(self._index.times)
        count = sum(1 for _ in self._decode_everything())
        if count == 0:
            raise self._error("holds no frame that can be decoded: copy it again or leave it out")
        return count

    @cached_property
    def fps(self) -> float:
        """Average frames per second as the file states them (25 if it says nothing)."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else _FALLBACK_FPS

    @property
    def duration_seconds(self) -> float:
        """`num_frames / fps`."""
        return self.num_frames / self.fps

    @property
    def width(self) -> int:
        """Pixels across as displayed, rotation applied."""
        return int(self._first_frame.shape[-1])

    @property
    def height(self) -> int:
        """Pixels down as displayed, rotation applied."""
        return int(self._first_frame.shape[-2])

    def frames(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """Decodes the frames with these numbers.

        Args:
            indices: n frame numbers in display order, each in 0..num_frames-1; any order, repeats allowed.

        Returns:
            uint8 (n, 3, H, W), RGB, in the order of `indices`; bit-equal to decoding the whole file.

        Raises:
            VideoError: a number outside the video, or a frame that the file, being damaged, does not give.
        """
        numbers = [int(index) for index in indices]
        if not numbers:
            raise ValueError("frames() got an empty list: ask for at least one frame")
        if min(numbers) < 0 or max(numbers) >= self.num_frames:
            asked = f"{min(numbers)}..{max(numbers)}"
            raise self._error(f"has frames 0..{self.num_frames - 1}, not {asked}: ask for those it has")
        wanted = sorted(set(numbers))
        pixels = self._from_key_frame(wanted)
        if pixels is None:
            pixels = self._from_start(wanted)
        if len({frame.shape for frame in pixels.values()}) > 1:
            raise self._error("changes its frame size midway: convert it to one size, or leave it out")
        # Stored as (n, H, W, 3): the layout in which resizing is fastest.
        return torch.stack([pixels[number] for number in numbers]).permute(0, 3, 1, 2)

    @cached_property
    def _first_frame(self) -> Tensor:
        return self.frames([0])[0]

    def _from_key_frame(self, wanted: list[int]) -> dict[int, Tensor] | None:
        """The wanted frames from the key frame before them on; None if the packets told otherwise."""
        index = self._index
        if index is None:
            return None
        position = bisect.bisect_right(index.key_times, index.times[wanted[0]]) - 1
        if position < 0:
            return None
        key_time = index.key_times[position]
        # Containers seek by display time or by decoding time; whichever lands on the key frame will do.
        for target in (key_time, index.decode_times[key_time]):
            if target is not None:
                pixels = self._decode_from(target, key_time, index, wanted)
                if pixels is not None:
                    return pixels
        return None

    def _decode_from(
        self, target: int, key_time: int, index: _PacketIndex, wanted: list[int]
    ) -> dict[int, Tensor] | None:
        """Seeks to `target` and decodes on, checking times against the index; None if one differs."""
        expected = bisect.bisect_left(index.times, key_time)  # the frame that has to come out next
        remaining = set(wanted)
        pixels: dict[int, Tensor] = {}
        try:
            self._container.seek(target, stream=self._stream)
            packets = self._container.demux(self._stream)
            packet = next(packets, None)
            if packet is None or packet.pts != key_time:
                return None
            while packet is not None:
                for frame in packet.decode():
                    if frame.pts != index.times[expected] or frame.is_corrupt:
                        return None
                    if expected in remaining:
                        pixels[expected] = self._to_rgb(frame)
                        remaining.remove(expected)
                        if not remaining:
                            return pixels
                    expected += 1
                packet = next(packets, None)
        except av.error.FFmpegError:
            return None
        return None

    def _from_start(self, wanted: list[int]) -> dict[int, Tensor]:
        """The wanted frames by decoding from the first packet on, counting the frames that come out."""
        last, remaining = wanted[-1], set(wanted)
        pixels: dict[int, Tensor] = {}
        for number, frame in enumerate(self._decode_everything()):
            if number in remaining:
                pixels[number] = self._to_rgb(frame)
            if number == last:
                return pixels
        raise self._error(f"is damaged: frame {last} cannot be decoded; copy it again or leave it out")

    def _decode_everything(self) -> Iterator[VideoFrame]:
        """All frames that decode, in display order, from a newly opened file; damaged ones are left out."""
        with _open_container(self.path) as container:
            stream = _video_stream(self.path, container)
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                except av.error.FFmpegError:
                    packet = None  # the container itself is cut short: nothing can follow
                if packet is None:
                    break
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    continue
                yield from frames
            # Where the container ended early, the decoder still holds the frames it was about to give.
            with suppress(av.error.FFmpegError):
                yield from stream.codec_context.decode(None)

    def _to_rgb(self, frame: VideoFrame) -> Tensor:
        """uint8 (H, W, 3), turned as the file says it is to be shown."""
        # One converter for all frames, in one thread: to start either anew costs more than the conversion.
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1)
        # The file states the turn counter-clockwise, as rot90 counts. All turns are quarter turns.
        return torch.rot90(torch.from_numpy(rgb.to_ndarray()), round(frame.rotation / 90), (0, 1))

    def _error(self, message: str) -> VideoError:
        return VideoError(f"{self.path} {message}")


@contextmanager
def _open_container(path: Path) -> Iterator[InputContainer]:
    if not path.exists():
        raise VideoError(f"{path} does not exist: check the path")
    if path.is_dir():
        raise VideoError(f"{path} is a folder, not a video: give the files in it")
    try:
        if path.stat().st_size == 0:
            raise VideoError(f"{path} is empty (0 bytes): copy or download it again")
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise VideoError(
            f"{path} cannot be read as a video ({reason}): damaged, incomplete or none; copy it again"
        ) from error
    with container:
        yield container


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    """The first video stream, set to decode in one thread: more gain nothing on short clips."""
    if not container.streams.video:
        raise VideoError(f"{path} holds no video stream: leave it out")
    stream = container.streams.video[0]
    try:
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
    except (AttributeError, ValueError) as error:  # a stream FFmpeg has no decoder for
        raise VideoError(f"{path} has a codec that FFmpeg cannot decode: convert it to H.264") from error
    return stream


def _read_index(container: InputContainer, stream: VideoStream) -> _PacketIndex | None:
    """Reads all packets without decoding; None where their times cannot stand for the frames."""
    if not _one_frame_per_packet(stream):
        return None
    in_file_order: list[int] = []
    times: list[int] = []
    decode_times: dict[int, int | None] = {}
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                continue  # the end-of-stream mark
            if packet.pts is None or packet.is_corrupt:
                return None
            in_file_order.append(packet.pts)
            if packet.is_keyframe:
                decode_times[packet.pts] = packet.dts
            if not packet.is_discard:
                times.append(packet.pts)
    except av.error.FFmpegError:
        return None
    if not times or len(set(in_file_order)) < len(in_file_order):
        return None
    # Frames stored out of display order whose times rise all the same: not display times (H.264 in avi).
    if stream.codec_context.has_b_frames and in_file_order == sorted(in_file_order):
        return None
    return _PacketIndex(sorted(times), sorted(decode_times), decode_times)


def _one_frame_per_packet(stream: VideoStream) -> bool:
    context = stream.codec_context
    progressive = context.field_order in (_FIELD_ORDER_UNKNOWN, _FIELD_ORDER_PROGRESSIVE)
    return progressive and context.name in _ONE_FRAME_PER_PACKET
