"""When the pictures of an MPEG-4 part 2 stream (XviD, DivX) are shown, read from their own headers.

No container tells it: avi states no times of display, and what FFmpeg guesses instead is wrong where a packet holds two
pictures (packed B-frames, as in UCF101). Sources: ISO/IEC 14496-2, 6.2; of packed pictures, FFmpeg's h263dec.c.
"""

import re
from functools import lru_cache

Order = tuple[int, int]
"""Frames are shown in ascending order of this."""

_PICTURE = b"\0\0\1\xb6"
_LAYER = re.compile(rb"\0\0\x01[\x20-\x2f]")
_ENCODER = re.compile(
    rb"\0\0\x01\xb2((?:FFmpe|ffmpeg|Lavc|XviD|DivX).*?)(?=\0\0\x01|\Z)", re.DOTALL
)  # FFmpeg knows these
_BIDIRECTIONAL = 2
_HEAD_BYTES = 24  # longer than any picture that says "as before"
MOST_EMPTY_BYTES = 19
"""FFmpeg takes no longer packet for the empty one that follows two pictures in one."""
_LAST = 1 << 62


class UnknownOrderError(Exception):
    """The stream names another encoder midway. FFmpeg decides by the name how to decode."""


class Mpeg4Order:
    """Which packets of a stream give a frame, and when it is shown. It is given all packets, in storage order.

    Of two pictures in a packet, FFmpeg decodes the second in place of the empty picture that follows. A picture that
    says "as before" gives no frame.
    """

    def __init__(self, extradata: bytes) -> None:
        self.holds_picture = False
        """Whether FFmpeg keeps a picture of the last packet for the next one."""
        self._held: int | None = None
        self._headers = extradata
        self._encoders = set(_ENCODER.findall(extradata))
        self._place = self._references = 0

    def __call__(self, packet: bytes) -> Order | None:
        """When the frame of the next packet is shown; None if the packet gives none.

        B-frames are shown before the frame that is stored last before them.

        Raises:
            UnknownOrderError: how FFmpeg decodes the frame depends on what was decoded before.
        """
        self._place += 1
        first = packet.find(_PICTURE)
        if first:
            self._read_headers(packet[: max(first, 0)])
        if first < 0:
            return None
        kind, second = self._kind(packet, first), packet.find(_PICTURE, first + len(_PICTURE))
        if second >= 0:
            self._held, self.holds_picture = self._kind(packet, second), True
        elif self.holds_picture:
            kind, self._held, self.holds_picture = self._held, kind, len(packet) > MOST_EMPTY_BYTES
        if kind == _BIDIRECTIONAL:
            return self._references, self._place
        if kind is None:
            return None
        self._references += 1
        return self._references, _LAST

    def _read_headers(self, headers: bytes) -> None:
        if _LAYER.search(headers):
            self._headers = headers
        encoders = set(_ENCODER.findall(headers))
        if self._place == 1:
            self._encoders |= encoders
        if encoders - self._encoders:
            raise UnknownOrderError

    def _kind(self, packet: bytes, start: int) -> int | None:
        """How a picture is coded; None if it says "as before"."""
        head = packet[start + len(_PICTURE) : start + len(_PICTURE) + _HEAD_BYTES]
        if len(head) < _HEAD_BYTES:
            bits = _bits(head)
            end_of_seconds = bits.find("0", 2)
            if end_of_seconds < 0 or bits[end_of_seconds + _time_bits(self._headers) + 3 :][:1] != "1":
                return None
        return head[0] >> 6


def _bits(data: bytes) -> str:
    return f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}"


@lru_cache
def _time_bits(headers: bytes) -> int:
    """Bits of the time in a picture's header, by the first header of a video object layer; 0 if there is none."""
    layer = _LAYER.search(headers)
    if layer is None:
        return 0
    bits = _bits(headers[layer.end() :][:32]).ljust(256, "0")
    has_version = bits[9] == "1"
    place = 17 if has_version else 10
    place += 20 if bits[place : place + 4] == "1111" else 4  # a pixel aspect of its own
    if bits[place] == "1":  # control parameters, and perhaps a buffer model in them
        place += 83 if bits[place + 4] == "1" else 4
    is_grey = bits[place + 1 : place + 3] == "11"
    place += 8 if is_grey and has_version and bits[10:14] != "0001" else 4
    resolution = int(bits[place : place + 16], 2)
    return max(1, (resolution - 1).bit_length())
