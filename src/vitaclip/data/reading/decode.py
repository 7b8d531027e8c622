"""Exactly the wanted frames of a video file, as a player shows them: RGB bytes, turned and mirrored as the file says,
pixels square or as stored.

Frame times are read from the packets without decoding. Then each stretch from a key frame to the last wanted frame
that needs it is decoded, less the frames in it that nobody wants and no other frame refers to; packets in between
are not decoded at all. Whatever looks unusual (no times, repeated times, interlaced fields, damage, frames that are
not those the packets told of) is decoded from the first packet on instead: slower, same frames. For a frame that does
not come out at all the nearest good one stands in.

Axes: n frames, H x W pixels as displayed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from vitaclip.data.config import PixelAspect, VideoLimits
from vitaclip.data.reading.container import (
    DEFAULT_LIMITS,
    VideoError,
    check_size,
    limit_error,
    open_container,
    read_packets,
    video_stream,
)
from vitaclip.data.reading.frame_index import FrameIndex, IndexMismatchError, SpanDecoder, read_index
from vitaclip.data.reading.path import FramesInMemory, VideoPath
from vitaclip.data.reading.source import FrameArray, FrameFolder, VideoSource, is_frame_folder

if TYPE_CHECKING:
    from torch import Tensor

_LONGEST_GAP = 250  # frames: what is lost with one key frame at encoders' usual settings
_LONGEST_PAUSE = 600.0  # seconds for which a frame is shown; more is a mistake in the timestamps
_MOST_ALONE = 256  # frames behind one key frame, of a stream
_MOST_ANAMORPHIC = 10  # beyond, a pixel's stated shape is a mistake


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
    path: VideoPath, limits: VideoLimits = DEFAULT_LIMITS, pixel_aspect: PixelAspect = "display"
) -> Iterator[VideoSource]:
    """Opens a video for reading frames.

    Args:
        path: any file that FFmpeg reads, on its own or in a tar file; a folder of numbered pictures; or a video in
            memory.
        limits: what the video may be at most.
        pixel_aspect: whether pixels that are not square are made so, or left as they are stored.

    Yields:
        What gives the frames; it is closed when the block ends.

    Raises:
        VideoError: missing, empty, a folder without pictures, not a video, damaged beyond reading, without a video
            stream, or beyond the limits.

    >>> from pathlib import Path
    >>> with open_video(Path("video.mp4")) as video:
    ...     print(video.num_frames, video.frames([0, 8]).shape)
    16 torch.Size([2, 3, 64, 64])
    """
    if isinstance(path, Path) and is_frame_folder(path):
        yield FrameFolder(path, limits)
    elif isinstance(path, FramesInMemory):
        yield FrameArray(path, limits)
    else:
        with open_container(path, limits, probe=False) as container:
            yield Video(path, container, limits, pixel_aspect)


class Video(VideoSource):
    """An open video file. Made by `open_video`."""

    def __init__(
        self, path: VideoPath, container: InputContainer, limits: VideoLimits, pixel_aspect: PixelAspect
    ) -> None:
        self._prepare(path, container, limits, pixel_aspect)
        stream = self._stream
        self.stated_seconds = (container.duration or 0) / av.time_base
        found = read_index(path, container, stream, limits)
        self._index = index = found if isinstance(found, FrameIndex) else None
        self._spans = SpanDecoder(container, stream, index) if index else None
        if index:
            self.key_numbers = index.key_numbers
        if found is not None:
            self.num_frames = found if isinstance(found, int) else len(found.places)
        if index and len(index.packet_times) > 1:
            step = float(np.median(np.diff(np.sort(index.packet_times)))) * float(stream.time_base or 0)
            if step * self.num_frames > 3600 * limits.hours:
                raise limit_error(path, f"{step * self.num_frames / 3600:.1f} hours", "hours", limits)

    def _prepare(
        self, path: VideoPath, container: InputContainer, limits: VideoLimits, pixel_aspect: PixelAspect
    ) -> None:
        """What turns frames into pixels, whether they are those of a file or come by a stream."""
        self.path, self._limits = path, limits
        self._stream = stream = video_stream(path, container, limits)
        self._stated_size = stream.codec_context.width, stream.codec_context.height
        self._makes_square = pixel_aspect == "display"
        # One converter for all frames, in one thread: to start either anew costs more than the conversion.
        self._reformatter = VideoReformatter()
        self._player: _Player | None = None
        if rate := stream.average_rate or stream.guessed_rate:
            self.fps = float(rate)

    @cached_property
    def num_frames(self) -> int:
        """Number of frames, at least 1: those that the packets tell of, or, where packets cannot stand for frames,
        those that come out when the whole file is decoded.

        It never changes, and so a frame's number means the same picture whatever was read before: a damaged frame
        counts, and the nearest good one stands in for it.
        """
        count = 0
        for count, _ in enumerate(self._decode_everything(), 1):
            if count > self._limits.frames:
                raise limit_error(self.path, f"at least {count} frames", "frames", self._limits)
        if count == 0:
            raise self._error("holds no frame that can be decoded: copy it again or leave it out")
        return count

    @property
    def times(self) -> np.ndarray:
        """As the file states them; without an index, or where they jump by more than ten minutes, those of a constant
        rate."""
        if self._index is None or self._stream.time_base is None:
            return super().times
        return self._ticks(self._index) * float(self._stream.time_base)

    def _ticks(self, index: FrameIndex) -> np.ndarray:
        """`times` in whole units of the stream's time base."""
        tick = float(self._stream.time_base or 1)
        steps = np.diff(np.sort(index.packet_times[index.places]))
        steps[steps > int(_LONGEST_PAUSE / tick)] = round(1 / self.fps / tick)
        return np.append(0, np.cumsum(steps))

    def _read(self, wanted: list[int]) -> Iterator[tuple[int, Tensor]]:
        return self._convert_all(self.decode(wanted))

    def _parts(self, wanted: list[int]) -> Iterable[Iterator[tuple[int, Tensor]]]:
        spans = [list(span.wanted) for span in self._index.spans(wanted)] if self._index else [wanted]
        return (self._convert_all(self.decode(span, _MOST_ALONE)) for span in spans)

    def _convert_all(self, frames: Iterator[tuple[int, VideoFrame]]) -> Iterator[tuple[int, Tensor]]:
        for number, frame in frames:
            pixels = self._convert(frame)
            # A decoder writes into the memory of frames that nobody holds, and leaves it as it was where data is
            # missing: how long frames are held must not depend on which are wanted.
            del frame
            yield number, pixels

    def decode(self, wanted: list[int], most_alone: float = math.inf) -> Iterator[tuple[int, VideoFrame]]:
        """The wanted frames with their numbers. What a number gives does not depend on the other numbers: if anything
        looks damaged, each frame is decoded as if it were the only one; of more than `most_alone`, which would take
        hours, each is what decoding from the start gives."""
        missing = wanted
        if self._spans and self._index:
            try:
                for span in self._index.spans(wanted):
                    yield from self._spans.frames(span)
                return
            except IndexMismatchError:
                self._spans.forget_place()
        if self._index and len(wanted) <= most_alone:
            missing = []
            for number in wanted:
                frame = self._decode_alone(self._index, number)
                if frame is None:
                    missing.append(number)
                else:
                    yield number, frame
        yield from self._from_start(missing)

    def _decode_alone(self, index: FrameIndex, number: int) -> VideoFrame | None:
        """A frame from its key frame on, by a new decoder; None if it does not come out as the index tells."""
        with open_container(self.path, self._limits, probe=False) as container, suppress(IndexMismatchError):
            stream = video_stream(self.path, container, self._limits)
            deque(read_packets(container, stream), maxlen=0)  # what a container learns by it decides how it seeks
            (span,) = index.spans([number])
            return dict(SpanDecoder(container, stream, index).frames(span))[number]
        return None

    def play(self) -> Iterator[Picture]:
        """All frames in display order, each as soon as it is decoded."""
        for frame in self._decode_everything():
            time = None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
            aspect = Fraction(1) if self._makes_square else self._stored_aspect()
            yield Picture(time, self._convert(frame), 1 / aspect if orientation(frame)[0] else aspect)

    def _convert(self, frame: VideoFrame) -> Tensor:
        """uint8 (3, H, W), H and W as displayed; stored as (H, W, 3), the layout in which resizing is fastest."""
        import torch  # here: exported models read frames without it

        from vitaclip.data.transforms import resize

        stored, shown_width = self.rgb(frame)
        pixels = torch.from_numpy(stored).permute(2, 0, 1)
        pixels = resize(pixels.unsqueeze(0), len(stored), shown_width)[0]
        turned, mirrored = orientation(frame)
        pixels = pixels.transpose(1, 2) if turned else pixels
        return pixels.flip(mirrored) if mirrored else pixels

    def rgb(self, frame: VideoFrame) -> tuple[np.ndarray, int]:
        """The pixels as stored, uint8 (H, W, 3), and how wide they are shown. If the size changes midway, all frames
        come to that of the first.

        Raises:
            VideoError: the file states an impossible shape of its pixels, the result is beyond the limits, or FFmpeg
                cannot convert their format.
        """
        size = frame.width, frame.height
        width, height = size if size == self._stated_size else self._first_size
        if size != (width, height):
            self.scaled.add(size)
        shown_width = max(1, round(width * self._stored_aspect())) if self._makes_square else width
        check_size(self.path, shown_width, height, self._limits, " as displayed")
        try:
            plane = self._reformatter.reformat(frame, width, height, format="rgb24", threads=1).planes[0]
        except av.error.FFmpegError as error:
            kind = f"has pixels of a kind ({frame.format.name}) that FFmpeg cannot convert"
            raise self._error(f"{kind}: leave it out") from error
        rows = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(plane.height, plane.line_size)
        return rows[:, : 3 * width].reshape(plane.height, width, 3), shown_width

    def _stored_aspect(self) -> Fraction:
        """Width of a stored pixel over its height, as the file states it or else the frames themselves."""
        aspect = self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio or Fraction(1)
        if not 1 / _MOST_ANAMORPHIC <= float(aspect) <= _MOST_ANAMORPHIC:
            raise self._error(f"states pixels {aspect} times as wide as high: correct its aspect ratio")
        return aspect

    @cached_property
    def _first_size(self) -> tuple[int, int]:
        return next(((frame.width, frame.height) for frame in self._decode_everything()), self._stated_size)

    def _from_start(self, wanted: list[int]) -> Iterator[tuple[int, VideoFrame]]:
        """The wanted frames by decoding from the first packet on.

        Frames are identified by the times in the index, or counted if there is no index. For a frame that cannot be
        decoded the nearest in time stands in, the earlier one of two.
        """
        later = dict[int, VideoFrame | None]()  # many lost frames in a row may share one that is expensive
        for number in wanted:
            if self._player is None or number < self._player.latest:
                self._player = _Player(self._numbered())
            shown, latest = self._player.show(number), self._player.latest
            if shown is None:
                raise self._error("holds no frame that can be decoded: copy it again or leave it out")
            if number != latest:
                self.replaced.add(number)
                later = {key: frame for key, frame in later.items() if key > number}
                if frame := self._nearer(number, latest, self._player.next_number, later):
                    yield number, frame
                    continue
            if number - latest > _LONGEST_GAP:
                missing = f"{latest + 1}..{number}"
                raise self._error(f"is damaged: frames {missing} cannot be decoded; copy it again or leave it out")
            yield number, shown

    def _nearer(
        self, number: int, latest: int, following: int | None, later: dict[int, VideoFrame | None]
    ) -> VideoFrame | None:
        """The frame behind a lost one, if it is nearer in time than the latest before and whole; else None.

        What refers to a lost frame comes out spoiled. So the candidates, the next frame that came out and the next key
        frame, are decoded from their key frame on without concealing damage; `later` keeps what came of it.
        """
        if self._index is None:
            return None
        times, candidates = self._ticks(self._index), {*self.key_numbers[self.key_numbers > number][:1].tolist()}
        for candidate in sorted(candidates if following is None else candidates | {following}):
            if times[candidate] - times[number] >= abs(times[number] - times[latest]):
                return None
            if candidate not in later:
                later[candidate] = self._decode_alone(self._index, candidate)
            if frame := later[candidate]:
                return frame
        return None

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
        """All frames that can be decoded, in display order, from a newly opened file; damaged ones are skipped."""
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


class _Player:
    """Shows the frames of a sequence at ascending numbers, and goes on where it was."""

    def __init__(self, frames: Iterator[tuple[int, VideoFrame]]) -> None:
        self._frames = frames
        self._following: tuple[int, VideoFrame] | None = None
        self._shown: VideoFrame | None = None
        self.latest = -1
        """Number of the frame that is shown."""

    @property
    def next_number(self) -> int | None:
        """Number of the frame behind a gap at which `show` stopped; None if there is none."""
        return self._following[0] if self._following else None

    def show(self, number: int) -> VideoFrame | None:
        """The last frame up to `number`, or else the first of all; None if there is none."""
        while self.latest < number:
            self._following = self._following or next(self._frames, None)
            if self._following is None or (self._shown is not None and self._following[0] > number):
                break
            (self.latest, self._shown), self._following = self._following, None
        return self._shown


def orientation(frame: VideoFrame) -> tuple[bool, list[int]]:
    """Whether rows and columns change places, and the axes of (3, H, W) to mirror after that, by the frame's display
    matrix; to the nearest quarter turn."""
    # `frame.side_data` would tie a knot of references, and frames stay in memory until Python's collector comes by.
    matrix = SideDataContainer(frame).get(Type.DISPLAYMATRIX)  # type: ignore[call-arg]
    if matrix is None:
        return False, []
    # A stored point (x, y) is shown at (a x + c y, b x + d y), y downwards.
    a, b, _, c, d = np.frombuffer(memoryview(matrix), dtype=np.int32)[:5].tolist()
    turned = abs(a) + abs(d) < abs(b) + abs(c)
    right, down = (c, b) if turned else (a, d)
    return turned, [axis for axis, sign in ((2, right), (1, down)) if sign < 0]
