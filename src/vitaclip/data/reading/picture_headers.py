"""The order of display of pictures whose container states none (avi), read from the pictures' own headers.

Nothing is decoded. Sources: ISO/IEC 14496-2 (MPEG-4 part 2) 6.2; ISO/IEC 14496-10 (H.264) 7.3 and 8.2.1. The decoder
gives the frames in the order of display, so that a mistake here shows when they are read.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from av.video.codeccontext import VideoCodecContext

Order = tuple[int, int]
"""Frames are shown in ascending order of this."""

_START = b"\0\0\1"
_SHORT = (ValueError, IndexError)  # what reading beyond the end of data raises


class UnknownOrderError(Exception):
    """The headers count in a way that is not known here."""


class _Bits:
    """Reads bits from the front; raises ValueError beyond the end, where Python refuses to shift by less than 0."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int) -> int:
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def number(self) -> int:
        """An Exp-Golomb number; a signed one's sign and half are for the caller."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)


def read_headers(context: VideoCodecContext) -> "Mpeg4Headers | H264Headers | None":
    """Reads the headers of a stream's pictures; None for codecs that need no such reading."""
    extradata = context.extradata or b""
    if context.name == "mpeg4":
        return Mpeg4Headers(extradata)
    return H264Headers(extradata) if context.name == "h264" else None


# ------------------------------------------------------------------------------------------------- MPEG-4 part 2

_PICTURE, _BIDIRECTIONAL = b"\0\0\1\xb6", 2
_MAKERS = tuple(b"\xb2" + name for name in (b"FFmpe", b"ffmpeg", b"Lavc", b"XviD", b"DivX"))  # that FFmpeg knows
_PICTURE_HEADER_BYTES = 24
_MOST_EMPTY_BYTES = 19  # FFmpeg takes no longer packet for the empty one that follows two pictures in one
_LAST = 1 << 62


class Mpeg4Headers:
    """Which packets of an MPEG-4 part 2 stream give a frame, and when it is shown, fed packet by packet.

    A packet may hold two pictures (packed B-frames): FFmpeg decodes the second in the place of the empty picture that
    follows. A picture may say "as before" and gives no frame then, whatever stands before it in the packet.
    """

    def __init__(self, extradata: bytes) -> None:
        self._time_bits = 0
        self._held: bytes | None = None
        self._place = self._references = 0
        self._known = self._learn(extradata)
        self._makers: set[bytes] | None = None

    def order(self, packet: bytes) -> Order | None:
        """When the frame that comes out for the next packet is shown; None if none comes out.

        B-frames are shown before the frame that is stored last before them.

        Raises:
            UnknownOrderError: the encoder's name, by which FFmpeg decides how to decode, is not that of the beginning.
        """
        self._place += 1
        first = packet.find(_PICTURE)
        is_key = first >= 0 and packet[first + 4 : first + 5] < b"\x40"
        if first or is_key:
            self._check_makers(self._learn(packet[: max(first, 0)]), is_key)
        if first < 0:
            return None
        second = packet.find(_PICTURE, first + 4)
        picture = packet[first + 4 : first + 4 + _PICTURE_HEADER_BYTES]
        if second >= 0:
            self._held = packet[second + 4 : second + 4 + _PICTURE_HEADER_BYTES]
        elif self._held is not None:
            picture, self._held = self._held, None if len(packet) <= _MOST_EMPTY_BYTES else picture
        kind = self._kind(picture)
        if kind is None or kind == _BIDIRECTIONAL:
            return None if kind is None else (self._references, self._place)
        self._references += 1
        return self._references, _LAST

    def _check_makers(self, makers: set[bytes], is_key: bool) -> None:
        if self._makers is None:
            self._makers = makers
        if makers != self._makers if is_key else makers - self._makers - self._known:
            raise UnknownOrderError

    def _kind(self, picture: bytes) -> int | None:
        """How a picture is coded; None if it says "as before"."""
        if len(picture) == _PICTURE_HEADER_BYTES:
            return picture[0] >> 6  # longer than any that says so
        bits = _Bits(picture)
        try:
            kind = bits.read(2)
            while bits.read(1):  # whole seconds
                pass
            bits.read(2 + self._time_bits)
            return kind if bits.read(1) else None
        except ValueError:
            return None

    def _learn(self, headers: bytes) -> set[bytes]:
        """Takes the length of pictures' times from the header of a video object layer, if there is one.

        Returns:
            What is said of the encoder.
        """
        parts = headers.split(_START)[1:]
        for part in parts:
            if 0x20 <= part[:1].ljust(1)[0] <= 0x2F:
                with suppress(ValueError):
                    self._time_bits = _mpeg4_time_bits(_Bits(part[1:]))
        return {part for part in parts if part.startswith(_MAKERS)}


def _mpeg4_time_bits(bits: _Bits) -> int:
    bits.read(9)
    version = bits.read(7) >> 3 if bits.read(1) else 1
    if bits.read(4) == 15:  # a pixel aspect of its own
        bits.read(16)
    if bits.read(1) and bits.read(4) & 1:  # control parameters, and a buffer model in them
        bits.read(79)
    if bits.read(2) == 3 and version != 1:  # a grey shape
        bits.read(4)
    bits.read(1)
    return max(1, (bits.read(16) - 1).bit_length())


def _starts(data: bytes) -> Iterator[int]:
    """Where what follows each start code begins."""
    place = 0
    while (place := data.find(_START, place) + 3) > 2:
        yield place


# --------------------------------------------------------------------------------------------------------- H.264

_SLICE, _IDR_SLICE, _SEQUENCE_SET, _PICTURE_SET = 1, 5, 7, 8
_SLICE_HEADER_BYTES, _SET_BYTES = 40, 1024
_HIGH_PROFILES = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))


class _Sequence(NamedTuple):
    """What is needed of a sequence parameter set to read the headers of slices."""

    plane_bits: int
    frame_number_bits: int
    count_bits: int
    """Bits of a picture's count in order of display; 0: storage order is display order."""
    may_have_fields: bool


class H264Headers:
    """When the frames of an H.264 stream are shown, fed packet by packet."""

    def __init__(self, extradata: bytes) -> None:
        self._length_bytes = 0  # of a unit; 0: start codes stand before units
        self._sequences: dict[int, _Sequence] = {}
        self._sequence_of: dict[int, int] = {}
        self._order: Order = 0, 0
        self._reference_count = 0
        if extradata[:1] != b"\1":
            self._first_slice(extradata)
            return
        with suppress(*_SHORT):  # what is missing is missed when a slice needs it
            self._length_bytes = (extradata[4] & 3) + 1
            place = 5
            for mask in (31, 255):
                count, place = extradata[place] & mask, place + 1
                for _ in range(count):
                    size = int.from_bytes(extradata[place : place + 2], "big")
                    self._learn(extradata[place + 2 : place + 2 + size])
                    place += 2 + size

    def order(self, packet: bytes) -> Order:
        """When the next packet's frame is shown. One that cannot be read comes behind the one before.

        Raises:
            UnknownOrderError: it is a field, or lacks a parameter set that can be read.
        """
        with suppress(*_SHORT):
            self._order = self._read_order(self._first_slice(packet))
        return self._order

    def _read_order(self, unit: bytes) -> Order:
        bits, epoch = _payload(unit), self._order[0]
        bits.number()
        bits.number()
        try:
            sequence = self._sequences[self._sequence_of[bits.number()]]
        except KeyError as error:
            raise UnknownOrderError from error
        bits.read(sequence.plane_bits + sequence.frame_number_bits)
        if sequence.may_have_fields and bits.read(1):
            raise UnknownOrderError
        if unit[0] & 31 == _IDR_SLICE:
            bits.number()
            epoch, self._reference_count = epoch + 1, 0
        if not sequence.count_bits:
            return epoch, self._order[1] + 1
        # The count is that of the reference frame before, give or take half of what its bits can say.
        half = 1 << (sequence.count_bits - 1)
        count = bits.read(sequence.count_bits)
        count += (self._reference_count - count + half) // (2 * half) * 2 * half
        if unit[0] & 0x60:
            self._reference_count = count
        return epoch, count

    def _first_slice(self, packet: bytes) -> bytes:
        """The head of the first slice, empty if there is none; takes what parameter sets before it say."""
        for start in self._lengths(packet) if self._length_bytes else _starts(packet):
            if packet[start] & 31 in (_SLICE, _IDR_SLICE):
                return packet[start : start + _SLICE_HEADER_BYTES]
            self._learn(packet[start : start + _SET_BYTES])
        return b""

    def _lengths(self, packet: bytes) -> Iterator[int]:
        """Where each unit behind its length begins."""
        end = 0
        while end < len(packet):
            start = end + self._length_bytes
            yield start
            end = start + int.from_bytes(packet[end:start], "big")

    def _learn(self, unit: bytes) -> None:
        """Takes what a parameter set says; others, and those that cannot be read, say nothing."""
        kind = unit[0] & 31 if unit else 0
        with suppress(*_SHORT):
            if kind == _PICTURE_SET:
                bits = _payload(unit)
                number = bits.number()
                self._sequence_of[number] = bits.number()
            elif kind == _SEQUENCE_SET:
                bits = _payload(unit)
                profile = bits.read(24) >> 16
                number = bits.number()
                self._sequences.pop(number, None)
                self._sequences[number] = _read_sequence(bits, profile)


def _payload(unit: bytes) -> _Bits:
    """What a unit says, without the bytes that only keep start codes from occurring in it."""
    return _Bits(unit[1:].replace(b"\0\0\3", b"\0\0"))


def _read_sequence(bits: _Bits, profile: int) -> _Sequence:
    plane_bits = _skip_colours(bits) if profile in _HIGH_PROFILES else 0
    frame_number_bits, counting = bits.number() + 4, bits.number()
    if counting == 1:
        raise ValueError("counts in steps; nobody does")
    count_bits = 0 if counting == 2 else bits.number() + 4
    bits.number()
    bits.read(1)
    bits.number()
    bits.number()
    return _Sequence(plane_bits, frame_number_bits, count_bits, not bits.read(1))


def _skip_colours(bits: _Bits) -> int:
    """Reads past what high profiles say of colours and scaling; how many bits say a slice's colour plane."""
    chroma = bits.number()
    plane_bits = 2 * bits.read(1) if chroma == 3 else 0
    bits.number()
    bits.number()
    bits.read(1)
    if bits.read(1):
        for matrix in range(12 if chroma == 3 else 8):
            if bits.read(1):
                _skip_scaling(bits, 16 if matrix < 6 else 64)
    return plane_bits


def _skip_scaling(bits: _Bits, length: int) -> None:
    scale = following = 8
    for _ in range(length):
        if following:
            code = bits.number()
            following = (scale + ((code + 1) // 2 if code % 2 else -(code // 2))) % 256
        scale = following or scale
