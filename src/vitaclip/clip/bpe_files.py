"""The files that CLIP's byte-pair model comes in. Each is checked, and none can take memory without bound."""

import gzip
import io
import json
import zlib
from pathlib import Path
from typing import Any

from tokenizers import models

from vitaclip.clip.bpe import END, START, WORD_END, bpe_of_merges, build_bpe

TOKENIZER_FILES = (
    ("tokenizer.json",),
    ("vocab.json", "merges.txt"),
    ("bpe_simple_vocab_16e6.txt.gz",),
    ("bpe_simple_vocab_16e6.txt",),
)
"""What `find_bpe` looks for in a folder, in this order; the pair needs both files."""
NUM_MERGES = 48_894
"""Merges of OpenAI's vocabulary. Its file holds over five times as many; the rest was never used."""
MOST_BYTES = 32 * 2**20
"""The largest file that is read, unpacked too. CLIP's own have 1 to 4 MB."""
_REMEDY = "copy it again, or take tokenizer.json or bpe_simple_vocab_16e6.txt.gz from where the weights come from"


def find_bpe(folder: str | Path) -> models.BPE:
    """Read the tokenizer that lies in a folder: the first of `TOKENIZER_FILES`.

    Raises:
        ValueError: if none is there, or as `read_bpe` does.
    """
    for names in TOKENIZER_FILES:
        files = [Path(folder) / name for name in names]
        if all(file.is_file() for file in files):
            return _read(*files)
    expected = ", ".join(" with ".join(names) for names in TOKENIZER_FILES)
    raise ValueError(f"{folder}: no tokenizer in it; put one of these there: {expected}")


def read_bpe(path: str | Path) -> models.BPE:
    """Read a `tokenizer.json`, or a list of merges: OpenAI's `bpe_simple_vocab_16e6.txt.gz`, the same unpacked, or a
    `merges.txt`. What a file is shows in its content, whatever its name.

    How a `tokenizer.json` would clean and cut texts is left aside: CLIP's own way is known.

    Raises:
        ValueError: if it is missing, larger than `MOST_BYTES` (unpacked, too), damaged, or none of these.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a tokenizer.json or a bpe_simple_vocab_16e6.txt.gz")
    return _read(path)


def _read(path: Path, merges: Path | None = None) -> models.BPE:
    """The model of a file, or of a vocab.json with its merges; every error names the file and what to do."""
    try:
        text = _read_text(path)
        if merges is not None:
            return build_bpe(_checked_ids(_parse_json(text)), _parse_merges(_read_text(merges)))
        if text.lstrip().startswith("{"):
            return _parse_tokenizer(_parse_json(text))
        return bpe_of_merges(_parse_merges(text))
    except ValueError as error:
        where = f"{path} with {merges.name}" if merges else f"{path}"
        raise ValueError(f"{where}: no tokenizer of CLIP's kind ({error}); {_REMEDY}") from error


def _read_text(path: Path) -> str:
    """The text of a file, unpacked where it is gzip's."""
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    try:
        if data.startswith(b"\x1f\x8b") and len(data) <= MOST_BYTES:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
                data = packed.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES // 2**20} MiB")
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"damaged gzip: {error}") from error
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8 text") from error


def _parse_merges(text: str) -> list[tuple[str, str]]:
    """The merges of a list with a version line and then a pair a line, up to the number that CLIP uses."""
    heading, *lines = text.rstrip("\n").split("\n")
    if "#version" not in heading:
        raise ValueError("neither JSON nor a list of merges: the first line lacks #version")
    if len(lines) < NUM_MERGES:
        raise ValueError(f"{len(lines)} merges where CLIP has {NUM_MERGES}")
    pairs = [(one, two) for one, _, two in (line.partition(" ") for line in lines[:NUM_MERGES])]
    for number, (one, two) in enumerate(pairs, start=2):
        if not one or not two or " " in two:
            raise ValueError(f"line {number} is not a pair with one blank between")
    return pairs


def _parse_json(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"damaged JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    return content


def _parse_tokenizer(content: dict[str, Any]) -> models.BPE:
    """The model of a tokenizer.json, built anew: the library itself can crash on one that is made wrongly."""
    model = content.get("model")
    if not isinstance(model, dict):
        raise ValueError("JSON without a model; a vocab.json is read with its folder, beside its merges.txt")
    if model.get("type", "BPE") != "BPE" or model.get("end_of_word_suffix") != WORD_END:
        raise ValueError(f"not a byte-pair model that marks the end of a word with {WORD_END}")
    for setting in ("dropout", "continuing_subword_prefix", "byte_fallback", "ignore_merges"):
        if model.get(setting):
            raise ValueError(f"a byte-pair model with {setting}, which CLIP's has not")
    ids = _checked_ids(model.get("vocab"))
    added = content.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise ValueError("its added_tokens are not a list of objects")
    for token in added:
        name = str(token.get("content"))
        if name in (START, END):
            ids.setdefault(name, token.get("id"))
        elif name not in ids:
            raise ValueError(f"adds the token {name[:80]!r} to its entries, which no text would make here")
    return build_bpe(_checked_ids(ids), _checked_merges(model.get("merges")))


def _checked_ids(ids: object) -> dict[str, int]:
    if not isinstance(ids, dict) or set(map(type, ids.values())) != {int}:
        raise ValueError("its entries are not texts with whole numbers")
    return ids


def _checked_merges(merges: object) -> list[tuple[str, str]]:
    """Merges written as pairs or, in older files, as texts with a blank between."""
    if not isinstance(merges, list):
        raise ValueError("its merges are not a list")
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    for number, pair in enumerate(pairs):
        if not isinstance(pair, list) or list(map(type, pair)) != [str, str]:
            raise ValueError(f"its merge {number} is not a pair of texts")
    return [(one, two) for one, two in pairs]
