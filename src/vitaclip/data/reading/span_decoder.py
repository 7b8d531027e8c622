"""Decoding the wanted frames of a stream by its index: from key frames on, and no more than is needed."""

from collections.abc import Iterator

import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vitaclip.data.reading.container import read_packets
from vitaclip.data.reading.frame_index import FrameIndex, Span
from vitaclip.data.reading.mpeg4 import MOST_EMPTY_BYTES

# Decoders that leave out, when told so before a packet, a frame that no other refers to.
_CAN_SKIP = frozenset(("h264", "mpeg4", "mpeg1video", "mpeg2video"))
_READ_ON_PACKETS = 64  # as far ahead, reading past packets costs no more than a seek


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
