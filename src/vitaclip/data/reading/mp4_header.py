"""How many samples the tracks of an mp4 file state. FFmpeg would take memory for each before it tells."""

import struct
from collections.abc import Iterator
from io import RawIOBase
from typing import IO

_PARENTS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"))
_DEEPEST = 8


def stated_samples(file: IO[bytes] | RawIOBase, end: int) -> Iterator[tuple[bool, int, int]]:
    """For each table of sizes: whether it is a video's, the number of samples, and the bytes of each, 0 if they differ.
    The tables of fragments are counted together, a byte a sample: they do not say what they are of.

    Args:
        file: any file; one that is no mp4 file has no tables.
        end: its length in bytes.
    """
    in_fragments = 0
    for kind, is_video, count, size in _tables(file, 0, end, False, 0):
        in_fragments += count if kind == b"trun" else 0
        yield (False, in_fragments, 1) if kind == b"trun" else (is_video, count, size)


def _tables(
    file: IO[bytes] | RawIOBase, place: int, end: int, is_video: bool, depth: int
) -> Iterator[tuple[bytes, bool, int, int]]:
    """Those in a box that reaches from `place` to `end`. Source: ISO/IEC 14496-12, section 4.2 and the boxes named."""
    while place + 8 <= end:
        file.seek(place)
        head = (file.read(32) or b"").ljust(32, b"\0")
        length, kind = struct.unpack_from(">I4s", head)
        content = 8
        if length == 1:
            (length,), content = struct.unpack_from(">Q", head, 8), 16
        stop = min(end, place + length) if length else end
        if stop < place + content:
            return
        if kind == b"hdlr":
            is_video |= head[content + 8 : content + 12] == b"vide"  # QuickTime's minf has one more, of the data
        elif kind in (b"stsz", b"stz2"):
            size, count = struct.unpack_from(">II", head, content + 4)
            yield kind, is_video, count, size if kind == b"stsz" else 0
        elif kind == b"trun":
            yield kind, False, struct.unpack_from(">I", head, content + 4)[0], 0
        elif kind in _PARENTS and depth < _DEEPEST:
            yield from _tables(file, place + content, stop, is_video, depth + 1)
        place = stop
