"""What the packets of a stream say about its frames before any is decoded, and which stretches to decode.

Axes: p packets, n displayed frames, k key frames. Times are in units of the stream's time base. A place is the number
of a packet in the file; frames are stored in decoding order, which is not the order of display.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import av.error
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vitaclip.config import VideoLimits
from vitaclip.data.reading.container import beyond, open_container, read_packets, video_stream
from vitaclip.data.reading.member import VideoPath

Integers = NDArray[np.int64]

# Decoders that emit one frame for each packet that is shown.
_ONE_FRAME_PER_PACKET = frozenset(
    """h264 hevc av1 libdav1d vp8 vp9 libvpx libvpx-vp9 mpeg1video mpeg2video mpeg4 h263
    mjpeg prores dnxhd ffv1""".split()  # noqa: SIM905 - a list of words reads best
)
_REORDERING = frozenset(("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"))
_FIELD_ORDER_UNKNOWN, _FIELD_ORDER_PROGRESSIVE = 0, 1
_VP8_SHOWN = 0x10  # bit of a VP8 frame's first byte
# An MPEG-4 picture that says only "as before" is a header without content. The decoder emits nothing for it.
_MPEG4_HEADER_BYTES = 16


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
    """(p,) when each packet is shown, all different."""
    packet_sizes: Integers
    """(p,) bytes of each packet; with the time, how a packet is known again."""
    places: Integers
    """(n,) where each frame is stored, in order of display. Packets that are not shown are in no place of this."""
    key_places: Integers
    """(k,) where each key frame is stored, ascending, shown or not; the first is 0."""
    key_decode_times: Integers
    """(k,) when each key frame is decoded."""

    @cached_property
    def times(self) -> Integers:
        """(n,) when each frame is shown, ascending."""
        return self.packet_times[self.places]

    @cached_property
    def key_times(self) -> Integers:
        """(k,) when each key frame is shown, ascending."""
        return self.packet_times[self.key_places]

    def spans(self, wanted: Sequence[int]) -> list[Span]:
        """The stretches that give the wanted frames, each beginning at the key frame last before its first frame.

        Frames whose key frame lies inside the stretch before share that stretch: decoding on reaches them anyway.

        Args:
            wanted: frame numbers, ascending, all different.
        """
        groups: list[tuple[int, int, list[int]]] = []  # key place, last place, frame numbers
        for number in wanted:
            key_place, place = self._key_place_before(number), int(self.places[number])
            if groups and key_place <= groups[-1][1]:
                first_place, last_place, numbers = groups[-1]
                groups[-1] = first_place, max(last_place, place), [*numbers, number]
            else:
                groups.append((key_place, place, [number]))
        return [
            Span(key_place, last_place, int(np.searchsorted(self.times, self.packet_times[key_place])), tuple(numbers))
            for key_place, last_place, numbers in groups
        ]

    def _key_place_before(self, number: int) -> int:
        """Place of the last key frame that is both shown and stored no later than a frame."""
        key = int(np.searchsorted(self.key_times, self.times[number], side="right")) - 1
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
        raise beyond(path, f"at least {len(packets)} packets", "frames", limits)
    if not packets:
        return None
    stored = [packet.time for packet in packets]
    if len(set(stored)) < len(stored):
        return None
    # Frames stored out of display order whose times rise all the same: not display times (H.264 in avi).
    if len(stored) > 2 and stored == sorted(stored) and _reorders(path, stream, limits):
        return None
    shown = sorted((packet.time, place) for place, packet in enumerate(packets) if packet.is_shown)
    keys = [(place, packet) for place, packet in enumerate(packets) if packet.is_key]
    key_times = [packet.time for _, packet in keys]
    # Frames before the first key frame: decoders differ in whether they emit them.
    if not shown or not keys or keys[0][0] > 0 or key_times[0] > shown[0][0] or key_times != sorted(key_times):
        return None
    return FrameIndex(
        packet_times=_integers(stored),
        packet_sizes=_integers([packet.size for packet in packets]),
        places=_integers([place for _, place in shown]),
        key_places=_integers([place for place, _ in keys]),
        key_decode_times=_integers([packet.decode_time for _, packet in keys]),
    )


class _PacketFacts(NamedTuple):
    time: int
    decode_time: int
    size: int
    is_key: bool
    is_shown: bool


def _read_packets(container: InputContainer, stream: VideoStream, most: int) -> list[_PacketFacts]:
    """All packets in storage order, or `most` and one; none at all if one is damaged, without a time, or gives no
    frame."""
    name = stream.codec_context.name
    packets = []
    try:
        for packet in read_packets(container, stream):
            time, decode_time, size = packet.pts, packet.dts, packet.size
            if size == 0 and time is None:
                continue  # the end-of-stream mark
            if time is None or packet.is_corrupt or _emits_nothing(size, name):
                return []
            is_shown = not packet.is_discard and (name != "vp8" or bool(memoryview(packet)[0] & _VP8_SHOWN))
            decode_time = time if decode_time is None else decode_time
            packets.append(_PacketFacts(time, decode_time, size, packet.is_keyframe, is_shown))
            if len(packets) > most:
                break
    except av.error.FFmpegError:
        return []
    return packets


def _integers(values: list[int]) -> Integers:
    return np.array(values, dtype=np.int64)


def _emits_nothing(size: int, codec: str) -> bool:
    return size == 0 or (codec == "mpeg4" and size <= _MPEG4_HEADER_BYTES)


def _reorders(path: VideoPath, stream: VideoStream, limits: VideoLimits) -> bool:
    """Whether the stream's frames are stored out of display order; decodes some of them to find out."""
    if stream.codec_context.name not in _REORDERING:
        return False
    with open_container(path, limits) as container:
        return bool(video_stream(path, container, limits).codec_context.has_b_frames)


def _one_frame_per_packet(stream: VideoStream) -> bool:
    context = stream.codec_context
    progressive = context.field_order in (_FIELD_ORDER_UNKNOWN, _FIELD_ORDER_PROGRESSIVE)
    return progressive and context.name in _ONE_FRAME_PER_PACKET
