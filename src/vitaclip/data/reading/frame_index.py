"""What the packets of a stream say about its frames before any is decoded, and which stretches to decode.

Axes: p packets, n displayed frames, k key frames. Times are in units of the stream's time base. A place is the number
of a packet in the file; frames are stored in decoding order, which is not the order of display. The number of a frame
depends on the packets alone, and never on what was decoded before: a picture that the decoder does not give has one.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import av.error
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vitaclip.data.config import VideoLimits
from vitaclip.data.reading.container import limit_error, open_container, read_packets, video_stream
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.reading.picture_headers import Order, UnknownOrderError, read_headers

Integers = NDArray[np.int64]

# Decoders that emit one frame for each packet that is shown.
_ONE_FRAME_PER_PACKET = frozenset(
    """h264 hevc av1 libdav1d vp8 vp9 libvpx libvpx-vp9 mpeg1video mpeg2video mpeg4 h263 flv msmpeg4v2 msmpeg4 wmv1 wmv2
    mjpeg prores dnxhd ffv1""".split()  # noqa: SIM905 - a list of words reads best
)
_REORDERING = frozenset(("hevc", "mpeg1video", "mpeg2video"))
_FIELD_ORDER_UNKNOWN, _FIELD_ORDER_PROGRESSIVE = 0, 1
_VP8_SHOWN = 0x10  # bit of a VP8 frame's first byte


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
) -> FrameIndex | None:
    """Reads all packets of a newly opened file without decoding any.

    Args:
        path: the file.
        container: the same, opened.
        stream: its video stream.
        limits: what it may be at most.

    Returns:
        The index; None where the packets cannot stand for the frames, so that these must be counted by decoding.

    Raises:
        VideoError: more packets than the limits allow frames.
    """
    if not _one_frame_per_packet(stream):
        return None
    packets = _read_packets(container, stream, limits.frames)
    if len(packets) > limits.frames:
        raise limit_error(path, f"at least {len(packets)} packets", "frames", limits)
    stored = [packet.time for packet in packets]
    if len(set(stored)) < len(stored):
        return None
    orders = [(time, 0) for time in stored]
    if stored == sorted(stored):  # not the times of display, perhaps
        if _reorders(path, container, stream, limits):
            return None
        orders = [packet.order or order for packet, order in zip(packets, orders, strict=True)]
    shown = sorted((order, place) for place, order in enumerate(orders) if packets[place].is_shown)
    keys = [place for place, packet in enumerate(packets) if packet.is_key]
    key_numbers = [bisect_left(shown, (orders[place], place)) for place in keys]
    # Frames before the first key frame: decoders differ in whether they emit them.
    if not shown or not keys or keys[0] > 0 or key_numbers[0] > 0 or key_numbers != sorted(key_numbers):
        return None
    return FrameIndex(
        packet_times=_integers(stored),
        packet_sizes=_integers([packet.size for packet in packets]),
        places=_integers([place for _, place in shown]),
        key_places=_integers(keys),
        key_numbers=_integers(key_numbers),
        key_decode_times=_integers([packets[place].decode_time for place in keys]),
    )


class _PacketFacts(NamedTuple):
    time: int
    decode_time: int
    size: int
    is_key: bool
    is_shown: bool
    order: Order | None
    """When its frame is shown by its own header, where that was read."""


def _read_packets(container: InputContainer, stream: VideoStream, most: int) -> list[_PacketFacts]:
    """All packets in storage order, or `most` and one; none at all if one is damaged or without a time."""
    name, headers = stream.codec_context.name, read_headers(stream.codec_context)
    packets: list[_PacketFacts] = []
    in_order, latest = True, None
    try:
        for packet in read_packets(container, stream):
            time, decode_time, size = packet.pts, packet.dts, packet.size
            if size == 0 and time is None:
                continue  # the end-of-stream mark
            if time is None or packet.is_corrupt or size == 0:
                return []
            in_order, latest = in_order and (latest is None or latest < time), time
            is_shown = not packet.is_discard and (name != "vp8" or bool(memoryview(packet)[0] & _VP8_SHOWN))
            order = headers.order(bytes(packet)) if headers and (in_order or name == "mpeg4") else None
            is_shown = is_shown and (order is not None or name != "mpeg4")
            is_key = packet.is_keyframe and (is_shown or packet.is_discard)
            decode_time = time if decode_time is None else decode_time
            packets.append(_PacketFacts(time, decode_time, size, is_key, is_shown, order))
            if len(packets) > most:
                break
    except (av.error.FFmpegError, UnknownOrderError):
        return []
    return packets


def _integers(values: list[int]) -> Integers:
    return np.array(values, dtype=np.int64)


def _reorders(path: VideoPath, container: InputContainer, stream: VideoStream, limits: VideoLimits) -> bool:
    """Whether frames may be stored out of display order; decodes some of them to find out.

    Only avi states no times of display, so there what comes later may be out of order too.
    """
    if stream.codec_context.name not in _REORDERING:
        return False
    if container.format.name == "avi":
        return True
    with open_container(path, limits) as probed:
        return bool(video_stream(path, probed, limits).codec_context.has_b_frames)


def _one_frame_per_packet(stream: VideoStream) -> bool:
    context = stream.codec_context
    progressive = context.field_order in (_FIELD_ORDER_UNKNOWN, _FIELD_ORDER_PROGRESSIVE)
    return progressive and context.name in _ONE_FRAME_PER_PACKET
