"""CLIP's byte-pair tokenizer, run by the `tokenizers` library.

Axes: K texts, L tokens.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ftfy
import torch
from tokenizers import Tokenizer as BPETokenizer
from torch import Tensor

START = "<|startoftext|>"
END = "<|endoftext|>"


@dataclass(frozen=True)
class TokenBatch:
    """Texts as ids: `ids` (K, L) int64, zero after the end token, and `end` (K,) int64, where the end token is."""

    ids: Tensor
    end: Tensor


def clean_text(text: str) -> str:
    """Mend mojibake, undo HTML entities, fold white space and case, as CLIP's training did."""
    if not text.isascii():
        text = ftfy.fix_text(text)
    text = html.unescape(html.unescape(text))
    # Lower case is Python's: the tokenizer library's own differs on a final sigma.
    return " ".join(text.split()).lower()


class Tokenizer:
    """Texts to token ids and back. Built once, from a `tokenizer.json`."""

    def __init__(self, bpe: BPETokenizer) -> None:
        start_id, end_id = bpe.token_to_id(START), bpe.token_to_id(END)
        if start_id is None or end_id is None:
            raise ValueError(f"the tokenizer lacks {START} or {END}: it is not one of CLIP's")
        self.start_id: int = start_id
        self.end_id: int = end_id
        self._bpe = bpe

    @classmethod
    def from_file(cls, path: str | Path) -> "Tokenizer":
        """Read a `tokenizer.json`.

        Raises:
            ValueError: if the file is missing or is not a tokenizer of CLIP's kind.
        """
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"{path}: no such file; a backbone folder needs its tokenizer.json")
        text = path.read_text(encoding="utf-8")
        try:
            bpe = BPETokenizer.from_str(text)
        except Exception as error:  # the library raises nothing more specific
            raise ValueError(f"{path} is not a tokenizer: {error}") from error
        return cls(bpe)

    def to_json(self) -> str:
        """The content of a `tokenizer.json` that `from_file` reads back."""
        return self._bpe.to_str()

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        return self._bpe.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Ids of a text without start and end token."""
        return self._bpe.encode(clean_text(text), add_special_tokens=False).ids

    def pieces(self, text: str) -> list[str]:
        """The tokens of a text as they are written, without start and end token and without marks of a word's end."""
        tokens = self._bpe.encode(clean_text(text), add_special_tokens=False).tokens
        return [token.removesuffix("</w>") for token in tokens]

    def __call__(self, texts: Sequence[str], context_length: int = 77) -> TokenBatch:
        """Ids of whole texts with start and end token, as wide as the longest of them.

        Raises:
            ValueError: if a text needs more than `context_length` tokens.
        """
        rows = [[self.start_id, *self.encode(text), self.end_id] for text in texts]
        for text, row in zip(texts, rows, strict=True):
            if len(row) > context_length:
                raise ValueError(f"{text!r} makes {len(row)} tokens, the text tower takes {context_length}; shorten it")
        return pad_rows(rows)


def pad_rows(rows: Sequence[Sequence[int]]) -> TokenBatch:
    """Put rows of ids, each with its end token last, into one batch."""
    ids = torch.zeros(len(rows), max(len(row) for row in rows), dtype=torch.int64)
    for row, values in zip(ids, rows, strict=True):
        row[: len(values)] = torch.tensor(values)
    return TokenBatch(ids, torch.tensor([len(row) - 1 for row in rows]))
