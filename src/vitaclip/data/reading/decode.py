"""Exactly the wanted frames of a video file, as bytes.

Frame times are read from the packets without decoding. Then each stretch from a key frame to the last wanted frame
that needs it is decoded, less the frames in it that nobody wants and no other frame refers to; packets in between
are not decoded at all. Whatever looks unusual (no times, repeated times, interlaced fields, damage, frames that are
not those the packets told of) is decoded from the first packet on instead: slower, same frames. A frame that does not
come out at all is shown as a player shows it: by the one before it.

Axes: n frames, H x W pixels as displayed.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import av.error
import numpy as np
import torch
from av.container import InputContainer
from av.video.frame import VideoFrame
from torch import Tensor

from vitaclip.config import PixelAspect, VideoLimits
from vitaclip.data.reading.container import (
    DEFAULT_LIMITS,
    VideoError,
    limit_error,
    open_container,
    read_packets,
    video_stream,
)
from vitaclip.data.reading.display import FrameConverter
from vitaclip.data.reading.frame_index import FrameIndex, read_index
from vitaclip.data.reading.index_cache import IndexCache
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.reading.span_decoder import IndexMismatchError, SpanDecoder

_FALLBACK_FPS = 25.0  # what FFmpeg assumes for a stream that states no rate
_LONGEST_GAP = 250  # frames: what is lost with one key frame at encoders' usual settings

FrameFunction = Callable[[Tensor], Tensor]


class Picture(NamedTuple):
    """A frame as displayed."""

    time: Fraction | None
    """Seconds; None if the file does not say."""
    pixels: Tensor
    """uint8 (3, H, W)."""
    pixel_aspect: Fraction
    """Width over height of a pixel."""


@contextmanager
def open_video(
    path: VideoPath,
    cache: IndexCache | None = None,
    limits: VideoLimits = DEFAULT_LIMITS,
    pixel_aspect: PixelAspect = "display",
) -> Iterator["Video"]:
    """Opens a video file for reading frames.

    Args:
        path: any file that FFmpeg reads, on its own or in a tar file.
        cache: where to find, or else to put, what the file's packets say.
        limits: what the video may be at most.
        pixel_aspect: whether pixels that are not square are made so, or left as they are stored.

    Yields:
        The `Video`; it is closed when the block ends.

    Raises:
        VideoError: missing, empty, a folder, not a video, damaged beyond reading, without a video stream, or beyond the
            limits.
    """
    with open_container(path, limits, probe=False) as container:
        yield Video(path, container, cache, limits, pixel_aspect)


class Video:
    """An open video file. Made by `open_video`."""

    def __init__(
        self,
        path: VideoPath,
        container: InputContainer,
        cache: IndexCache | None,
        limits: VideoLimits,
        pixel_aspect: PixelAspect,
    ) -> None:
        self.path = path
        self._limits = limits
        self._stream = video_stream(path, container, limits)
        self._stated_size = self._stream.codec_context.width, self._stream.codec_context.height
        self._convert = FrameConverter(path, self._stream, limits, pixel_aspect)
        self._cache = cache
        known = cache.load(path) if cache else None
        index = read_index(path, container, self._stream, limits) if known is None else known
        self._index = index if isinstance(index, FrameIndex) else None
        self._spans: SpanDecoder | None = None
        if isinstance(index, FrameIndex):
            self._spans = SpanDecoder(container, self._stream, index, at_start=known is not None)
            if cache and known is None:
                cache.store(path, index)
        if index is not None:
            self.num_frames = len(index.places) if isinstance(index, FrameIndex) else index
            if self.num_frames > limits.frames:  # kept under other limits
                raise limit_error(path, f"{self.num_frames} frames", "frames", limits)
        if isinstance(index, FrameIndex) and len(index.packet_times) > 1:
            step = float(np.median(np.diff(np.sort(index.packet_times)))) * float(self._stream.time_base or 0)
            if step * self.num_frames > 3600 * limits.hours:
                raise limit_error(path, f"{step * self.num_frames / 3600:.1f} hours", "hours", limits)

    @cached_property
    def num_frames(self) -> int:
        """Number of frames, at least 1: those that the packets tell of, or, where packets cannot stand for frames,
        those that come out when the whole file is decoded.

        It never changes, and so a frame's number means the same picture whatever was read before: a damaged frame
        counts, and is shown as the one before it.
        """
        count = 0
        for count, _ in enumerate(self._decode_everything(), 1):
            if count > self._limits.frames:
                raise limit_error(self.path, f"at least {count} frames", "frames", self._limits)
        if count == 0:
            raise self._error("holds no frame that can be decoded: copy it again or leave it out")
        if self._cache:
            self._cache.store(self.path, count)
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
        """Pixels across as displayed: pixels made square, rotation applied."""
        return int(self._first_frame.shape[-1])

    @property
    def height(self) -> int:
        """Pixels down as displayed: pixels made square, rotation applied."""
        return int(self._first_frame.shape[-2])

    def frames(self, indices: Sequence[int] | np.ndarray, each: FrameFunction | None = None) -> Tensor:
        """Decodes the frames with these numbers.

        Args:
            indices: n frame numbers in display order, each in 0..num_frames-1; any order, repeats allowed.
            each: what happens to every frame, (1, 3, H, W), as soon as it is decoded, such as a resize: large
                frames are then never in memory together.

        Returns:
            uint8 (n, 3, H, W), RGB, in the order of `indices`; without `each` bit-equal to decoding the whole file.

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
        if self._spans is None:
            return self._collect(numbers, self._from_start(wanted), each)
        try:
            return self._collect(numbers, self._spans.frames(wanted), each)
        except IndexMismatchError:
            return self._collect(numbers, self._in_spite_of_damage(self._spans, wanted), each)

    def play(self) -> Iterator[Picture]:
        """All frames in display order, each as soon as it is decoded."""
        for frame in self._decode_everything():
            time = None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
            yield Picture(time, self._convert(frame, self._size_of(frame)), self._convert.shown_aspect(frame))

    def _collect(
        self, numbers: list[int], frames: Iterator[tuple[int, VideoFrame]], each: FrameFunction | None
    ) -> Tensor:
        """Converts numbered frames one at a time and puts each wherever its number is asked for."""
        collected: Tensor | None = None
        for number, frame in frames:
            pixels = self._convert(frame, self._size_of(frame)).unsqueeze(0)
            pixels = each(pixels) if each else pixels
            if collected is None:
                # Stored as (n, H, W, 3): the layout in which resizing is fastest.
                height, width = pixels.shape[-2:]
                collected = torch.empty((len(numbers), height, width, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
            for position, asked in enumerate(numbers):
                if asked == number:
                    collected[position] = pixels[0]
        assert collected is not None
        return collected

    @cached_property
    def _first_frame(self) -> Tensor:
        return self.frames([0])[0]

    def _size_of(self, frame: VideoFrame) -> tuple[int, int]:
        """Width and height that a frame is shown in: those of the first, where frames change their size midway."""
        size = frame.width, frame.height
        return size if size == self._stated_size else self._first_size

    @cached_property
    def _first_size(self) -> tuple[int, int]:
        return next(((frame.width, frame.height) for frame in self._decode_everything()), self._stated_size)

    def _in_spite_of_damage(self, spans: SpanDecoder, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        """The wanted frames: those that come out whole from their own key frames on, the others from the start."""
        missing = set(wanted)
        for number, frame in spans.intact(wanted):
            missing.remove(number)
            yield number, frame
        yield from self._from_start(sorted(missing))

    def _from_start(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        """The wanted frames by decoding from the first packet on.

        They are known by the times that the index tells, or else counted. In the place of those that do not come out
        there is the one before, or the first.
        """
        due = deque(wanted)
        latest, shown = -1, None
        for number, frame in self._numbered() if due else ():
            while due and due[0] < number:
                yield self._instead(due.popleft(), latest, shown or frame)
            latest, shown = number, frame
            if due and due[0] == number:
                yield due.popleft(), frame
            if not due:
                return
        while due:
            yield self._instead(due.popleft(), latest, shown)

    def _instead(self, number: int, latest: int, shown: VideoFrame | None) -> tuple[int, VideoFrame]:
        """What is shown in the place of a frame that does not come out."""
        if shown is None:
            raise self._error("holds no frame that can be decoded: copy it again or leave it out")
        if number - latest > _LONGEST_GAP:
            missing = f"{latest + 1}..{number}"
            raise self._error(f"is damaged: frames {missing} cannot be decoded; copy it again or leave it out")
        return number, shown

    def _numbered(self) -> Iterator[tuple[int, VideoFrame]]:
        """All frames that decode, with their numbers."""
        if self._index is None:
            yield from enumerate(self._decode_everything())
            return
        number_of = dict(zip(self._index.packet_times.tolist(), self._index.numbers.tolist(), strict=True))
        for frame in self._decode_everything():
            number = number_of.get(frame.pts, -1)
            if number >= 0:
                yield number, frame

    def _decode_everything(self) -> Iterator[VideoFrame]:
        """All frames that decode, in display order, from a newly opened file; damaged ones are left out."""
        with open_container(self.path, self._limits) as container:
            stream = video_stream(self.path, container, self._limits)
            rest = read_packets(container, stream)
            while True:
                try:
                    packet = next(rest, None)
                except av.error.FFmpegError:
                    packet = None  # the container itself is cut short: nothing can follow
                if packet is None:
                    break
                try:
                    frames = packet.decode()
                except av.error.FFmpegError as error:
                    if isinstance(error, MemoryError):
                        raise  # not the file's damage
                    continue
                yield from frames
            # Where the container ended early, the decoder still holds the frames it was about to give.
            with suppress(av.error.FFmpegError):
                yield from stream.codec_context.decode(None)

    def _error(self, message: str) -> VideoError:
        return VideoError(f"{self.path} {message}")
