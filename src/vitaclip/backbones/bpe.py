"""The byte-pair model of CLIP's tokenizer, and the files that it comes in.

Its entries are 256 signs that stand for the bytes, the same 256 with the mark of a word's end, one entry for each
merge, and two special tokens: 49,408 in OpenAI's CLIP and nearly all models after it.
"""

import gzip
import io
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from tokenizers import Regex, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as BPETokenizer

from vitaclip.untrusted import MAX_TEXT_BYTES, read_bytes

START = "<|startoftext|>"
END = "<|endoftext|>"
WORD_END = "</w>"
SIGNS = sorted(pre_tokenizers.ByteLevel.alphabet())
"""The printable characters that stand for the 256 bytes, in the order of their ids."""
WORD_PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What CLIP takes for a word: contractions, runs of letters, single digits, runs of other signs."""
TOKENIZER_FILES = ("tokenizer.json", "bpe_simple_vocab_16e6.txt.gz", "merges.txt")
"""The names that a tokenizer has in a folder; the first that is there is read."""
CLIP_MERGES = Path(str(files("vitaclip.backbones"))) / "assets" / "bpe_merges.txt.gz"
"""OpenAI's merges, as far as CLIP uses them; its license lies beside it."""
NUM_MERGES = 48_894
"""Merges of OpenAI's vocabulary. Its file holds over five times as many; CLIP never uses the rest."""
REMEDY = "copy it again, or take tokenizer.json or bpe_simple_vocab_16e6.txt.gz from where the weights come from"


def read_bpe(path: str | Path) -> models.BPE:
    """Read a `tokenizer.json`, or a list of merges (OpenAI's `bpe_simple_vocab_16e6.txt.gz`, or a `merges.txt`).

    The content decides, not the name; packed or not, no more is read than of any text file. How a `tokenizer.json`
    would clean and cut texts is ignored, because CLIP's own way is known.
    """
    data = read_bytes(path)
    try:
        text = _unpack(data).decode("utf-8-sig").replace("\r\n", "\n")
        return _parse_tokenizer(text) if text.lstrip().startswith("{") else bpe_of_merges(_parse_merges(text))
    except ValueError as error:
        raise ValueError(f"{path}: no tokenizer of CLIP's kind ({error}); {REMEDY}") from error
    except Exception as error:
        raise ValueError(f"{path}: damaged ({type(error).__name__}: {error!s:.80}); {REMEDY}") from error


def bpe_of_merges(merges: Sequence[tuple[str, str]]) -> models.BPE:
    """The model that merges make: bytes, bytes that end a word, merges, start and end token have ids in this order."""
    entries = [*SIGNS, *(sign + WORD_END for sign in SIGNS), *map("".join, merges), START, END]
    return build_bpe({entry: number for number, entry in enumerate(entries)}, merges)


def build_bpe(ids: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> models.BPE:
    """The model of these entries, and of merges in the order in which they are made.

    Everything that the library needs is checked first, because a wrong model can crash it later.

    Raises:
        ValueError: if a special token, an entry for a byte or one that a merge needs is missing, or if the ids are
            not 0, 1, 2, ..., each once.
    """
    missing = [entry for entry in (START, END, *SIGNS, *(sign + WORD_END for sign in SIGNS)) if entry not in ids]
    if missing:
        raise ValueError(f"lacks the entry {missing[0]!r}")
    if {*map(type, ids.values())} != {int} or sorted(ids.values()) != list(range(len(ids))):
        raise ValueError(f"its {len(ids)} entries do not have the ids 0 to {len(ids) - 1}, each once")
    for number, pair in enumerate(merges):
        if [*map(type, pair)] != [str, str] or any(part not in ids for part in (*pair, "".join(pair))):
            raise ValueError(f"its merge {number} is not a pair of entries that make another entry")
    return models.BPE(
        vocab=dict(ids),
        merges=list(merges),
        unk_token=END,  # never met: every byte has its entry
        continuing_subword_prefix="",
        end_of_word_suffix=WORD_END,
    )


def lay_out_bpe(model: models.BPE) -> BPETokenizer:
    """A tokenizer of the `tokenizers` library around a model, as a CLIP `tokenizer.json` holds it."""
    bpe = BPETokenizer(model)
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="removed", invert=True)
    signs = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([words, signs])
    start, end = model.token_to_id(START), model.token_to_id(END)
    if start is not None and end is not None:  # else it has yet to be trained
        bpe.add_special_tokens([START, END])
        bpe.post_processor = processors.RobertaProcessing((END, end), (START, start), False, False)
    return bpe


def _unpack(data: bytes) -> bytes:
    """The content of a gzip file; other files as they are."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        unpacked = packed.read(MAX_TEXT_BYTES + 1)
    if len(unpacked) > MAX_TEXT_BYTES:
        raise ValueError(f"larger than {MAX_TEXT_BYTES // 2**20} MiB")
    return unpacked


def _parse_merges(text: str) -> list[tuple[str, str]]:
    """The merges of a list with a version line and then a pair a line, up to the number that CLIP uses."""
    heading, *lines = text.rstrip("\n").split("\n")
    if "#version" not in heading:
        raise ValueError("neither JSON nor a list of merges: the first line lacks #version")
    if len(lines) < NUM_MERGES:
        raise ValueError(f"{len(lines)} merges where CLIP has {NUM_MERGES}")
    return [tuple(line.split(" ")) for line in lines[:NUM_MERGES]]  # type: ignore[misc]  # build_bpe checks the pairs


def _parse_tokenizer(text: str) -> models.BPE:
    """The model of a `tokenizer.json`, built anew; older files write merges as texts with a blank between."""
    content = json.loads(text)
    model, ids = content["model"], dict(content["model"]["vocab"])
    special = {token["content"]: token["id"] for token in content.get("added_tokens") or []}
    merges = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]]
    settings = ("dropout", "continuing_subword_prefix", "byte_fallback", "ignore_merges")
    of_clip = (model.get("type", "BPE"), model.get("end_of_word_suffix")) == ("BPE", WORD_END)
    if not of_clip or any(model.get(setting) for setting in settings):
        raise ValueError(f"not a byte-pair model of CLIP's settings, which marks the end of a word with {WORD_END}")
    ids |= {name: special[name] for name in (START, END) if name in special and name not in ids}
    if unknown := special.keys() - ids.keys():
        raise ValueError(f"adds the token {min(unknown)[:80]!r} to its entries, which no text would make here")
    return build_bpe(ids, merges)
