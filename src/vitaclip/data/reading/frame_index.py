"""What the packets of a stream say about its frames before any is decoded; which stretches to decode; and
decoding them, from key frames on, and no more than is needed.

Axes: p packets, n displayed frames, k key frames. Times are in units of the stream's time base. A place is the number
of a packet in the file; frames are stored in decoding order, which is not the order of display. The number of a frame
depends on the packets alone, and never on what was decoded before: a picture that the decoder does not give has one.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice
from typing import NamedTuple

import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vitaclip.data.config import VideoLimits
from vitaclip.data.reading.container import limit_error, read_packets
from vitaclip.data.reading.mpeg4 import MOST_EMPTY_BYTES, Mpeg4Order, Order, UnknownOrderError
from vitaclip.data.reading.path import VideoPath

Integers = NDArray[np.int64]

# Decoders that emit one frame for each packet that is shown.
_ONE_FRAME_PER_PACKET = frozenset(
    """h264 hevc av1 libdav1d vp8 vp9 libvpx libvpx-vp9 mpeg1video mpeg2video mpeg4 h263 flv msmpeg4v2 msmpeg4 wmv1 wmv2
    mjpeg prores dnxhd ffv1""".split()  # noqa: SIM905 - a list of words reads best
)
_REORDERING = frozenset(("h264", "hevc", "mpeg1video", "mpeg2video"))
# Decoders that leave out, when told so before a packet, a frame that no other refers to.
_CAN_SKIP = frozenset(("h264", "mpeg4", "mpeg1video", "mpeg2video"))
_READ_ON_PACKETS = 64  # as far ahead, reading past packets costs no more than a seek
_FIELD_ORDER_UNKNOWN, _FIELD_ORDER_PROGRESSIVE = 0, 1
_VP8_SHOWN = 0x10  # bit of a VP8 frame's first byte
_MJPEG_MARKS = b"\xff\xdb", b"\xff\xda"  # tables, scan; a picture without one has the pixels of an earlier picture


@dataclass(frozen=True)
class Span:
    """A stretch of packets to decode: from a key frame to the last wanted frame that needs it."""

    key_place: int
    last_place: int
    """Place of the wanted frame that is stored last."""
    first: int
    """Number of the first frame shown at or after the key frame."""
    wanted: tuple[int, ...]
    """Numbers of the wanted frames, ascending."""


@dataclass(frozen=True)
class FrameIndex:
    """Times and places of a stream's frames. See `read_index`."""

    packet_times: Integers
    """(p,) timestamp of each packet and its frame, all different. In avi files it is not the display time."""
    packet_sizes: Integers
    """(p,) bytes of each packet; time and size together identify a packet."""
    places: Integers
    """(n,) packet index of each frame, in display order. Packets that are never displayed do not appear."""
    key_places: Integers
    """(k,) packet index of each key frame, ascending, displayed or not; the first is 0."""
    key_numbers: Integers
    """(k,) number of the first frame that is displayed no earlier than each key frame, ascending."""
    key_decode_times: Integers
    """(k,) decoding timestamp of each key frame."""
    is_packed: bool = False
    """Whether some packets hold two pictures, of which the decoder keeps the second for the next packet."""

    @cached_property
    def numbers(self) -> Integers:
        """(p,) number of the frame that each packet holds; -1 if it is not shown."""
        numbers = np.full(len(self.packet_times), -1)
        numbers[self.places] = np.arange(len(self.places))
        return numbers

    def spans(self, wanted: Sequence[int]) -> list[Span]:
        """The stretches that give the wanted frames, one for each key frame that is the last before some of them.

        None runs on into the next, even where its frames are stored behind the next key frame: in a damaged file, the
        pixels of a frame would then depend on which others are wanted.

        Args:
            wanted: frame numbers, ascending, all different.
        """
        groups = [(key_place, tuple(numbers)) for key_place, numbers in groupby(wanted, self._key_place_before)]
        return [
            Span(
                key_place,
                int(self.places[list(numbers)].max()),
                int(self.key_numbers[self.key_places.searchsorted(key_place)]),
                numbers,
            )
            for key_place, numbers in groups
        ]

    def _key_place_before(self, number: int) -> int:
        """Place of the last key frame that is both shown and stored no later than a frame."""
        key = int(np.searchsorted(self.key_numbers, number, side="right")) - 1
        while self.key_places[key] > self.places[number]:
            key -= 1
        return int(self.key_places[key])


def read_index(
    path: VideoPath, container: InputContainer, stream: VideoStream, limits: VideoLimits
) -> FrameIndex | int | None:
    """Reads all packets of a newly opened file without decoding any.

    Returns:
        The index; only the number of frames, where each needs all before it; None where packets cannot stand for
        frames, so that these must be counted by decoding.

    Raises:
        VideoError: more packets than the limits allow frames.
    """
    packets = _read_packets(container, stream, limits.frames) if _one_frame_per_packet(stream) else []
    times = [packet.time for packet in packets]
    shown = sorted((packet.order, place) for place, packet in enumerate(packets) if packet.is_shown)
    if not shown or len(set(times)) < len(times):
        return None
    if len(packets) > limits.frames:
        raise limit_error(path, f"at least {len(packets)} packets", "frames", limits)
    if _needs_all_before(container, stream, times):
        return len(shown)
    keys = [place for place, packet in enumerate(packets) if packet.is_key]
    key_numbers = [bisect_left(shown, (packets[place].order, place)) for place in keys]
    # Frames before the first key frame: decoders differ in whether they emit them.
    if keys[:1] != [0] or key_numbers[0] > 0 or key_numbers != sorted(key_numbers):
        return None
    return FrameIndex(
        packet_times=_integers(times),
        packet_sizes=_integers([packet.size for packet in packets]),
        places=_integers([place for _, place in shown]),
        key_places=_integers(keys),
        key_numbers=_integers(key_numbers),
        key_decode_times=_integers([packets[place].decode_time for place in keys]),
        is_packed=any(packet.is_held for packet in packets),
    )


class _Packet(NamedTuple):
    time: int
    decode_time: int
    size: int
    order: Order
    """Frames are shown in ascending order of this."""
    is_shown: bool
    is_key: bool
    is_held: bool
    """Whether FFmpeg keeps a picture of it for the next packet. Decoding cannot begin at such a key frame: without the
    frames before, FFmpeg may drop another picture instead."""


def _read_packets(container: InputContainer, stream: VideoStream, most: int) -> list[_Packet]:
    """All packets, or `most` and one; none if one shows damage or has no time."""
    context, packets = stream.codec_context, list[_Packet]()
    is_vp8, is_mjpeg = context.name == "vp8", context.name == "mjpeg"
    mpeg4 = Mpeg4Order(context.extradata or b"") if context.name == "mpeg4" else None
    try:
        for packet in islice(read_packets(container, stream), most + 1):
            time, size = packet.pts, packet.size
            if size == 0 and time is None:
                break  # the end-of-stream mark
            if time is None or packet.is_corrupt or size == 0:
                return []
            if is_mjpeg and not all(mark in bytes(packet) for mark in _MJPEG_MARKS):
                return []
            order = mpeg4(bytes(packet)) if mpeg4 else (time, 0)
            is_held = mpeg4 is not None and mpeg4.holds_picture
            is_hidden = order is None or packet.is_discard or (is_vp8 and not memoryview(packet)[0] & _VP8_SHOWN)
            is_key = packet.is_keyframe and (not is_hidden or packet.is_discard) and not is_held
            decode_time, order = time if packet.dts is None else packet.dts, order or (len(packets), 0)
            packets.append(_Packet(time, decode_time, size, order, not is_hidden, is_key, is_held))
    except (av.error.FFmpegError, UnknownOrderError):
        return []
    return packets


def _integers(values: list[int]) -> Integers:
    return np.array(values, dtype=np.int64)


def _needs_all_before(container: InputContainer, stream: VideoStream, times: list[int]) -> bool:
    """Whether a frame can only be had by decoding all before it: because no time tells when frames are shown that may
    be stored in another order, because times differ after a seek (MPEG program streams), or because the decoder hides
    damage by parts of earlier frames and does not say so (FFV1)."""
    context, form = stream.codec_context, container.format.name
    if form == "mpeg" or context.name == "ffv1":
        return True
    # Avi states no times of display, and FFmpeg guesses some. Elsewhere, times of storage are mistaken for them.
    times_tell = form != "avi" and (not context.has_b_frames or times != sorted(times))
    return context.name in _REORDERING and not times_tell


def _one_frame_per_packet(stream: VideoStream) -> bool:
    context = stream.codec_context
    progressive = context.field_order in (_FIELD_ORDER_UNKNOWN, _FIELD_ORDER_PROGRESSIVE)
    return progressive and context.name in _ONE_FRAME_PER_PACKET


class IndexMismatchError(Exception):
    """The stream gave other frames than its index tells."""


class SpanDecoder:
    """Decodes stretches of one stream. Remembers where in the file it is, to seek no more than needed."""

    def __init__(self, container: InputContainer, stream: VideoStream, index: FrameIndex) -> None:
        """Takes an open file of which all packets have been read, and their index."""
        self._container, self._stream, self._index = container, stream, index
        self._skips = _can_skip(stream)
        # What is damaged is then said, instead of hidden by pixels that depend on what was decoded before.
        stream.codec_context.options = {**stream.codec_context.options, "err_detect": "explode"}
        self._packets = read_packets(container, stream)
        self.forget_place()

    def forget_place(self) -> None:
        """Have the next span begin with a seek: where the last one failed tells nothing."""
        self._place = len(self._index.packet_times)  # of the packet read last

    def frames(self, span: Span) -> Iterator[tuple[int, VideoFrame]]:
        """The wanted frames of a span with their numbers, as they come out of the decoder; all frames that come out are
        compared with the index.

        Raises:
            IndexMismatchError: a frame did not come out, or others than the index tells; those yielded may be wrong.
        """
        stretch = slice(span.key_place, span.last_place + 1)
        numbers, times = self._index.numbers[stretch].tolist(), self._index.packet_times[stretch].tolist()
        number_of = dict(zip(times, numbers, strict=True))
        wanted, latest = set(span.wanted), -1
        due = set(span.wanted) if self._skips else {number for number in numbers if number >= span.first}
        for frame in self._decode(span, due):
            number = number_of.get(frame.pts, -1)
            # Frames shown before the key frame but stored after it lack what they refer to. Nobody asked for them.
            if 0 <= number < span.first:
                continue
            is_false_key = frame.pts == times[0] and not frame.key_frame
            if number <= latest or frame.is_corrupt or is_false_key:
                raise IndexMismatchError(f"an unknown, early or damaged frame or a false key frame at {frame.pts}")
            latest = number
            due.discard(number)
            if number in wanted:
                yield number, frame
        if due:
            raise IndexMismatchError(f"no frame {min(due)}")

    def _decode(self, span: Span, due: set[int]) -> Iterator[VideoFrame]:
        """All frames that the packets of a span give, the decoder emptied at its end. Frames whose packets the decoder
        complains of are put into `due`: they must come out all the same."""
        context = self._stream.codec_context
        wanted_places = set(self._index.places[list(span.wanted)].tolist())
        try:
            context.flush_buffers()
            packet = self._go_to(span.key_place)
            while True:
                is_skipped = self._skips and self._place not in wanted_places and not self._may_hold(self._place)
                context.skip_frame = "NONREF" if is_skipped else "DEFAULT"
                try:
                    yield from packet.decode()
                except av.error.FFmpegError:
                    number = int(self._index.numbers[self._place])
                    # H.264 marks what it damaged, and complains of whole frames that refer to frames left out.
                    if number < 0 or (number >= span.first and context.name != "h264"):
                        raise
                    if number >= span.first:
                        due.add(number)
                if self._place == span.last_place:
                    yield from context.decode(None)
                    return
                packet = self._next()
        except av.error.FFmpegError as error:
            raise IndexMismatchError(str(error)) from error

    def _may_hold(self, place: int) -> bool:
        """Whether the decoder must look into a packet for a second picture, which it does not if it skips the first."""
        return self._index.is_packed and int(self._index.packet_sizes[place]) > MOST_EMPTY_BYTES

    def _go_to(self, key_place: int) -> "Packet[VideoStream]":
        """Reads the packet of a key frame, by reading on or by seeking."""
        if 0 < key_place - self._place <= _READ_ON_PACKETS:
            while self._place < key_place - 1:
                self._next()
            return self._next()
        key = int(np.searchsorted(self._index.key_places, key_place))
        time, decode_time = int(self._index.packet_times[key_place]), int(self._index.key_decode_times[key])
        # Containers seek by display time or by decoding time. Those that find neither can go back to the start.
        for target in dict.fromkeys((time, decode_time, int(self._index.packet_times[0]))):
            self._container.seek(target, stream=self._stream)
            self._packets = read_packets(self._container, self._stream)
            for packet in self._packets:
                if self._is_at(packet, key_place):
                    self._place = key_place
                    return packet
                if packet.dts is not None and packet.dts > decode_time:
                    break
        raise IndexMismatchError(f"no seek finds packet {key_place}")

    def _next(self) -> "Packet[VideoStream]":
        """Reads the next packet."""
        packet = next(self._packets, None)
        if packet is None or not self._is_at(packet, self._place + 1):
            raise IndexMismatchError(f"packet {self._place + 1} is another than before")
        self._place += 1
        return packet

    def _is_at(self, packet: "Packet[VideoStream]", place: int) -> bool:
        index = self._index
        return packet.pts == index.packet_times[place] and packet.size == index.packet_sizes[place]


def _can_skip(stream: VideoStream) -> bool:
    """Whether the decoder can leave out frames that no other refers to.

    In HEVC only where the container states one temporal sub-layer (mp4, mkv): among several, the layer above may refer
    to a frame that its own layer does not. Source: HEVCDecoderConfigurationRecord, ISO/IEC 14496-15.
    """
    name, extradata = stream.codec_context.name, stream.codec_context.extradata or b""
    has_one_layer = len(extradata) >= 22 and extradata[0] == 1 and (extradata[21] >> 3) & 7 == 1
    return name in _CAN_SKIP or (name == "hevc" and has_one_layer)
