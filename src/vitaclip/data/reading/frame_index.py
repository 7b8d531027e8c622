"""What the packets of a stream say about its frames before any is decoded, and which stretches to decode.

Axes: p packets, n displayed frames, k key frames. Times are in units of the stream's time base. A place is the number
of a packet in the file; frames are stored in decoding order, which is not the order of display. The number of a frame
depends on the packets alone, and never on what was decoded before: a picture that the decoder does not give has one.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice
from typing import NamedTuple

import av.error
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vitaclip.data.config import VideoLimits
from vitaclip.data.reading.container import limit_error, read_packets
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.reading.mpeg4 import Mpeg4Order, Order, UnknownOrderError

Integers = NDArray[np.int64]

# Decoders that emit one frame for each packet that is shown.
_ONE_FRAME_PER_PACKET = frozenset(
    """h264 hevc av1 libdav1d vp8 vp9 libvpx libvpx-vp9 mpeg1video mpeg2video mpeg4 h263 flv msmpeg4v2 msmpeg4 wmv1 wmv2
    mjpeg prores dnxhd ffv1""".split()  # noqa: SIM905 - a list of words reads best
)
_REORDERING = frozenset(("h264", "hevc", "mpeg1video", "mpeg2video"))
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
