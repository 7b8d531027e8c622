"""Models of sentencepiece (`spiece.model`, `tokenizer.model`), read with the tokenizers library alone.

The file is a protobuf message: pieces with scores, and how texts are normalised before they are cut. Its table of
characters is followed here and not by the tokenizers library, which looks up whole graphemes: it would read an accent
behind a replaced sign otherwise than sentencepiece does.

Sources: sentencepiece_model.proto and normalizer.cc of google/sentencepiece; the table is Darts-clone's double array.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import unpack
from typing import Any, NamedTuple

import tokenizers
from tokenizers import AddedToken, models

from vitaclip.backbones.vocabulary import Vocabulary

BLANK = "\u2581"
"""What stands for a blank in pieces."""
MAX_FIELDS = 2_000_000
"""The most pieces that are read; XLM-V has 901,629."""
_NORMAL, _UNKNOWN, _USER_DEFINED, _BYTE = 1, 2, 4, 6
_UNIGRAM, _BPE = 1, 2


@dataclass(frozen=True)
class Normalizer:
    """What sentencepiece does to a text before it is cut into pieces."""

    units: Sequence[int]
    """The double array that holds the strings to replace; empty: nothing is replaced."""
    replacements: bytes
    """What they become, each ended by a zero byte."""
    symbols: re.Pattern[bytes] | None
    """Texts that stay as they are, since each is a piece of its own."""
    add_prefix: bool
    """Whether a blank goes in front."""
    fold_blanks: bool
    """Whether blanks at both ends go, and one of several stays."""

    def __call__(self, text: str) -> str:
        """The text as the pieces spell it.

        Of all strings that are to be replaced, the longest that begins at a place goes first, from left to right.
        """
        data, parts, at = text.encode(), [], 0
        while at < len(data):
            part, length = self._replace(data, at)
            parts.append(part)
            at += length
        spelled = b"".join(parts).decode(errors="replace")
        if self.fold_blanks:
            spelled = re.sub(" +", " ", spelled.strip(" "))
        spelled = BLANK * (self.add_prefix and bool(data)) + spelled.replace(" ", BLANK)
        return spelled.rstrip(BLANK) if self.fold_blanks else spelled

    def _replace(self, data: bytes, at: int) -> tuple[bytes, int]:
        """What becomes of the text at this place, and how many of its bytes are done with."""
        if self.symbols is not None and (symbol := self.symbols.match(data, at)):
            return symbol[0], len(symbol[0])
        length = 1 + sum(data[at] >= lead for lead in (0xC0, 0xE0, 0xF0))
        found, node = (data[at : at + length], length), self._child(0) if self.units else 0
        for place in range(at, len(data) if self.units else at):
            node ^= data[place]
            if node >= len(self.units) or self.units[node] & 0x800000FF != data[place]:
                break
            ends = bool(self.units[node] & 0x100)
            node = self._child(node)
            if ends and node < len(self.units):
                start = self.units[node] & 0x7FFFFFFF
                found = self.replacements[start : self.replacements.find(b"\0", start)], place + 1 - at
        return found

    def _child(self, node: int) -> int:
        """Where the units that follow a unit are, before the next byte decides which of them."""
        unit = self.units[node]
        return node ^ (unit >> 10 << ((unit & 0x200) >> 6))


class _Piece(NamedTuple):
    text: str
    """Of a control piece such as `</s>` with a blank in front: so no text can spell it, as in sentencepiece."""
    score: float
    kind: int

    @classmethod
    def read(cls, data: bytes) -> "_Piece":
        values: dict[int, Any] = {2: b"\0" * 4, 3: _NORMAL} | dict(_fields(data))
        kind, text = values[3], values[1].decode()
        return cls(text if kind in (_NORMAL, _USER_DEFINED, _BYTE) else f" {text}", unpack("<f", values[2])[0], kind)


def read_sentencepiece(data: bytes) -> Vocabulary:
    """The vocabulary in the content of a file."""
    pieces, settings = [], {2: b"", 3: b""}
    for number, value in _fields(data):
        if number == 1:
            pieces.append(_Piece.read(value))
        elif number in settings:
            settings[number] = value
    training, normalization = dict(_fields(settings[2])), dict(_fields(settings[3]))
    kind = training.get(3, _UNIGRAM)
    if kind not in (_UNIGRAM, _BPE) or training.get(24, 0) or not normalization.get(5, 1):
        raise ValueError("its model or its blanks are of a kind that no tower known here uses")
    unknown = next((number for number, piece in enumerate(pieces) if piece.kind == _UNKNOWN), None)
    if unknown is None:
        raise ValueError("has no piece for what it does not know")
    bytes_too = any(piece.kind == _BYTE for piece in pieces)
    model: models.Model
    if kind == _UNIGRAM:
        model = models.Unigram([(piece.text, piece.score) for piece in pieces], unknown, bytes_too)
    else:
        ids, name = {piece.text: number for number, piece in enumerate(pieces)}, pieces[unknown].text
        model = models.BPE(ids, _merges(pieces), unk_token=name, fuse_unk=True, byte_fallback=bytes_too)
    library = tokenizers.Tokenizer(model)
    symbols = [piece.text for piece in pieces if piece.kind == _USER_DEFINED]
    library.add_tokens([AddedToken(symbol, normalized=False) for symbol in symbols])
    return Vocabulary(library, _normalizer(normalization, symbols), "spiece.model", lambda: data)


def _normalizer(settings: dict[int, Any], symbols: list[str]) -> Normalizer:
    table = settings.get(2, b"")
    size = unpack("<I", table[:4])[0] if table else 0
    longest_first = sorted((symbol.encode() for symbol in symbols), key=len, reverse=True)
    return Normalizer(
        unpack(f"<{size // 4}I", table[4 : 4 + size]),
        table[4 + size :],
        re.compile(b"|".join(map(re.escape, longest_first))) if symbols else None,
        bool(settings.get(3, 1)),
        bool(settings.get(4, 1)),
    )


def _merges(pieces: Sequence[_Piece]) -> list[tuple[str, str]]:
    """The pairs of pieces that make a piece, those first whose piece has the higher score: what sentencepiece merges
    by score, the tokenizers library merges by the order of this list."""
    normal = [piece for piece in pieces if piece.kind == _NORMAL]
    known = {piece.text for piece in normal}
    merges = []
    for piece in sorted(normal, key=lambda piece: -piece.score):
        cuts = ((piece.text[:cut], piece.text[cut:]) for cut in range(1, len(piece.text)))
        merges += [(one, two) for one, two in cuts if one in known and two in known]
    return merges


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protobuf message: an int, or the bytes of anything else."""
    at = 0
    for _ in range(MAX_FIELDS):
        if at == len(data):
            return
        value: Any
        key, at = _varint(data, at)
        if key & 7 == 0:
            value, at = _varint(data, at)
        else:
            size, at = _varint(data, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            value, at = data[at : at + size], at + size
        if at > len(data):
            raise ValueError("ends inside a field")
        yield key >> 3, value
    raise ValueError(f"has more than {MAX_FIELDS:,} pieces")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at a place, seven bits a byte, and the place behind it."""
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at + shift // 7]
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at + shift // 7 + 1
    raise ValueError("holds a number of more than 64 bits")
