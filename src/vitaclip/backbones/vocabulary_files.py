"""The files that vocabularies come in. The content decides which kind one is, not the name."""

import gzip
import io
from pathlib import Path

import tokenizers
from tokenizers import models

from vitaclip.backbones.bpe import WORD_END, clip_vocabulary, read_merges
from vitaclip.backbones.sentencepiece import read_sentencepiece
from vitaclip.backbones.vocabulary import Vocabulary, library_errors
from vitaclip.untrusted import read_bytes, reading

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


def read_vocabulary(path: str | Path) -> Vocabulary:
    """Read a `tokenizer.json`, a model of sentencepiece, or CLIP's merges (OpenAI's `bpe_simple_vocab_16e6.txt.gz`, or
    a `merges.txt`).

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
