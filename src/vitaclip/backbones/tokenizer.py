"""Texts as token ids: cleaned as their text tower was trained, cut into tokens, laid out as the tower takes them; and
the files that vocabularies come in, whose content decides which kind one is, not the name.

Axes: K texts, L tokens.
"""

import gzip
import io
import string
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tokenizers
from tokenizers import models, normalizers

from vitaclip.backbones.config import TextLayoutConfig
from vitaclip.backbones.sentencepiece import read_sentencepiece
from vitaclip.backbones.vocabulary import (
    CLIP_MERGES,
    END,
    START,
    WORD_END,
    Vocabulary,
    clip_vocabulary,
    library_errors,
    read_merges,
)
from vitaclip.names import clean_text, quoted
from vitaclip.untrusted import read_bytes, reading

if TYPE_CHECKING:
    from torch import Tensor

TOKENIZER_FILES = (
    "tokenizer.json",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "bpe_simple_vocab_16e6.txt.gz",
    "merges.txt",
)
"""The names that a vocabulary has in a folder; the first that is there is read."""
MAX_BYTES = 128 * 2**20
"""The largest file that is read, unpacked too. SigLIP 2's tokenizer.json has 34 MB."""
MAX_VALUES = 8_000_000
"""The most commas or lines in a file, since a value in JSON takes fifty bytes of memory; XLM-V's has 3.6 million."""
REMEDY = "copy it again, or take tokenizer.json or spiece.model from where the weights come from"


def read_vocabulary(path: str | Path = CLIP_MERGES) -> Vocabulary:
    """Read a `tokenizer.json`, a model of sentencepiece, or CLIP's merges (OpenAI's `bpe_simple_vocab_16e6.txt.gz`, or
    a `merges.txt`); without a path, CLIP's own.

    >>> Tokenizer(read_vocabulary()).encode("a photo of a dog")
    [320, 1125, 539, 320, 1929]

    Raises:
        ValueError: if it is none of these, damaged, or too large.
        OSError: if the operating system refuses.
    """
    with reading(path, REMEDY):
        data = read_bytes(path, MAX_BYTES)
        try:
            with library_errors():
                return _read(data)
        except ValueError as error:
            raise ValueError(f"{path}: no tokenizer that can be read ({error!s:.200}); {REMEDY}") from error


def _read(data: bytes) -> Vocabulary:
    if data.startswith(b"\x1f\x8b"):
        data = _unpack(data)
    data = data.removeprefix(b"\xef\xbb\xbf")
    if max(data.count(b","), data.count(b"\n")) > MAX_VALUES:
        raise ValueError(f"it holds more than {MAX_VALUES:,} values")
    if data.lstrip()[:1] == b"{":
        return _read_json(data)
    if b"#version" in data[:100]:
        return read_merges(data.decode().replace("\r\n", "\n"))
    return read_sentencepiece(data)


def _read_json(data: bytes) -> Vocabulary:
    library = tokenizers.Tokenizer.from_str(data.decode())
    library.no_padding()
    library.no_truncation()
    if isinstance(library.model, models.BPE):
        library.model.dropout = None
        if library.model.end_of_word_suffix == WORD_END:
            return clip_vocabulary(library.model)
    return Vocabulary(library, str, "tokenizer.json", lambda: data)


def _unpack(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        unpacked = packed.read(MAX_BYTES + 1)
    if len(unpacked) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES // 2**20} MiB")
    return unpacked


_NO_PUNCTUATION = str.maketrans("_", " ", string.punctuation.replace("_", ""))
CLEANING: dict[str, Callable[[str], str]] = {
    "clip": clean_text,
    "canonicalize": lambda text: " ".join(text.translate(_NO_PUNCTUATION).lower().split()),
    "lower": normalizers.Lowercase().normalize_str,
    "none": str,
}
"""What `TextLayoutConfig.clean` names."""
CLIP_LAYOUT = TextLayoutConfig()


@dataclass(frozen=True)
class TokenBatch:
    """Texts as ids: `ids` (K, L) int64, and `end` (K,) int64, where the token is whose output is the text's feature."""

    ids: "Tensor"
    end: "Tensor"


class Tokenizer:
    """Texts to token ids. Built once."""

    def __init__(
        self, vocabulary: Vocabulary, layout: TextLayoutConfig = CLIP_LAYOUT, *, full_length: bool = False
    ) -> None:
        """Args:
        vocabulary: what cuts texts into tokens.
        layout: how texts are cleaned before, and what stands around them.
        full_length: whether texts are always filled up to the context length, since the tower attends to padding.
        """
        self.vocabulary, self._layout, self._full_length = vocabulary, layout, full_length
        self.start = self._special(START) if layout.start is None else layout.start
        self.end = self._special(END) if layout.end is None else layout.end
        self._last = () if layout.last is None else (layout.last,)

    @property
    def vocab_size(self) -> int:
        """One more than the highest id that a text may have."""
        return self.vocabulary.size

    def encode(self, text: str) -> list[int]:
        """Ids of a text without start and end token. A half of a surrogate pair is read as the sign for damage."""
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self.vocabulary.cut(CLEANING[self._layout.clean](whole))

    def __call__(self, texts: Sequence[str], context_length: int = 77) -> TokenBatch:
        """Ids of whole texts, laid out. A text of more than `context_length` tokens is refused, but by families whose
        texts are always of full length, some of 16 tokens: it is cut before its end token as they do, with a warning.
        """
        import torch  # here: exported models are used without it

        return TokenBatch(*map(torch.tensor, self.lay_out(self.cut(texts, context_length), context_length)))

    def cut(self, texts: Sequence[str], context_length: int) -> list[list[int]]:
        """Ids of whole texts that fit, without start and end token; see `__call__`."""
        rows, room = [self.encode(text) for text in texts], self.room(context_length)
        long = [(text, row) for text, row in zip(texts, rows, strict=True) if len(row) > room]
        if long:
            (text, row), cut = long[0], self._layout.feature == "last"
            total = len(row) + context_length - room
            message = f"{quoted(text)} makes {total} tokens, the text tower takes {context_length}"
            if not cut:
                raise ValueError(f"{message}; shorten it")
            warnings.warn(f"{message}, so its end is cut off, as of {len(long)} texts in all", stacklevel=3)
        return [row[:room] for row in rows]

    def room(self, context_length: int) -> int:
        """Ids that a text itself may have."""
        return context_length - len(self.start) - len(self.end) - len(self._last)

    def lay_out(self, rows: Sequence[Sequence[int]], context_length: int) -> tuple[list[list[int]], list[int]]:
        """The ids and the ends of a `TokenBatch` of texts, ids as `encode` makes them; the caller makes sure that they
        fit."""
        whole = [[*self.start, *row, *self.end] for row in rows]
        longest = context_length if self._full_length else max(map(len, whole)) + len(self._last)
        padding = [[self._layout.pad] * (longest - len(row) - len(self._last)) for row in whole]
        ids = [[*row, *pads, *self._last] for row, pads in zip(whole, padding, strict=True)]
        at_last = self._layout.feature == "last"
        return ids, [longest - 1 if at_last else len(row) - 1 for row in whole]

    def _special(self, token: str) -> tuple[int]:
        number = self.vocabulary.library.token_to_id(token)
        if number is None:
            raise ValueError(f"the tokenizer has no {token}, and the config does not say which ids to put there")
        return (number,)
