"""CLIP's byte-pair tokenizer, token for token the reference's (openai/CLIP, clip/simple_tokenizer.py).

Axes: K texts, L tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import regex
import torch
from tokenizers import models
from torch import Tensor

from vitaclip.backbones.bpe import CLIP_MERGES, END, SIGNS, START, WORD_PATTERN, lay_out_bpe, read_bpe
from vitaclip.names import clean_text, quoted

# The regex package and not the tokenizers library: their tables of letters differ by thousands of characters.
_WORDS = regex.compile(WORD_PATTERN, regex.IGNORECASE)
# Bytes keep their own character where that is visible and not a blank; the others take those from 256 on, in order.
_VISIBLE = [ord(sign) for sign in SIGNS if ord(sign) < 256]
_HIDDEN = [byte for byte in range(256) if byte not in _VISIBLE]
_SIGN_OF_BYTE = dict(zip([*_VISIBLE, *_HIDDEN], SIGNS, strict=True))


@dataclass(frozen=True)
class TokenBatch:
    """Texts as ids: `ids` (K, L) int64, and `end` (K,) int64, where the token is whose output is the text's feature."""

    ids: Tensor
    end: Tensor


@dataclass(frozen=True)
class TextLayout:
    """How a text tower takes its texts. Whoever lays tokens out asks this, and assumes nothing."""

    start: tuple[int, ...]
    """Ids before each text."""
    end: tuple[int, ...]
    """Ids behind each text."""
    pad: int = 0
    """The id that fills a text up."""
    full_length: bool = False
    """Whether texts are always filled up to the context length, since the tower attends to padding."""
    feature_at_last: bool = False
    """Whether the feature is the output at the last place, padding or not; else that at the last id of the text."""

    def room(self, context_length: int) -> int:
        """Ids that a text itself may have."""
        return context_length - len(self.start) - len(self.end)

    def lay_out(self, rows: Sequence[Sequence[int]], context_length: int) -> TokenBatch:
        """Put texts, ids without start and end, into one batch; the caller makes sure that they fit."""
        whole = [[*self.start, *row, *self.end] for row in rows]
        longest = context_length if self.full_length else max(map(len, whole))
        ids = torch.full((len(whole), longest), self.pad, dtype=torch.int64)
        for row, values in zip(ids, whole, strict=True):
            row[: len(values)] = torch.tensor(values)
        last = [longest - 1 if self.feature_at_last else len(row) - 1 for row in whole]
        return TokenBatch(ids, torch.tensor(last))


class Tokenizer:
    """Texts to token ids. Built once."""

    def __init__(self, model: models.BPE) -> None:
        self._bpe = lay_out_bpe(model)
        self._model = self._bpe.model
        start_id, end_id = model.token_to_id(START), model.token_to_id(END)
        assert start_id is not None
        assert end_id is not None
        self.start_id: int = start_id
        self.end_id: int = end_id

    @property
    def layout(self) -> TextLayout:
        """Start and end token around a text; what stands behind never matters, since CLIP's order is causal."""
        return TextLayout((self.start_id,), (self.end_id,))

    @classmethod
    def from_file(cls, path: str | Path = CLIP_MERGES) -> "Tokenizer":
        """Read a `tokenizer.json` or a list of merges; without an argument, CLIP's own, which is in the package.

        >>> Tokenizer.from_file().encode("a photo of a dog")
        [320, 1125, 539, 320, 1929]
        """
        return cls(read_bpe(path))

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        return self._bpe.get_vocab_size()

    def to_json(self) -> str:
        """The content of a `tokenizer.json` that `from_file` and the `tokenizers` library read back."""
        return self._bpe.to_str()

    def encode(self, text: str) -> list[int]:
        """Ids of a text without start and end token."""
        special = {START: self.start_id, END: self.end_id}
        ids: list[int] = []
        for word in _WORDS.findall(clean_text(text)):
            if word in special:
                ids.append(special[word])
            else:
                signs = word.encode("utf-8").decode("latin-1").translate(_SIGN_OF_BYTE)
                ids += [token.id for token in self._model.tokenize(signs)]
        return ids

    def __call__(self, texts: Sequence[str], context_length: int = 77) -> TokenBatch:
        """Ids of whole texts with start and end token, as wide as the longest of them. A text of more than
        `context_length` tokens is refused."""
        rows, room = [self.encode(text) for text in texts], self.layout.room(context_length)
        for text, row in zip(texts, rows, strict=True):
            if len(row) > room:
                total = len(row) + context_length - room
                raise ValueError(
                    f"{quoted(text)} makes {total} tokens, the text tower takes {context_length}; shorten it"
                )
        return self.layout.lay_out(rows, context_length)
