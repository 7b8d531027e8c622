"""What cuts texts into tokens: byte pairs, sentencepiece's pieces, WordPiece; and CLIP's own vocabulary of byte pairs.

CLIP's entries are 256 signs that stand for the bytes, the same 256 with the mark of a word's end, one entry for each
merge, and two special tokens: 49,408 in OpenAI's CLIP and nearly all models after it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import regex
import tokenizers
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from vitaclip.files import atomic_write
from vitaclip.strings import one_line


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer of the tokenizers library, and what it leaves to us. Start, end and padding are no part of it."""

    library: tokenizers.Tokenizer
    """Cuts a text and knows the ids."""
    spell: Callable[[str], str]
    """What is done to a text before the library sees it: that part of the cutting in which the library differs from
    what the model was trained with."""
    file_name: str
    """The name of the file that holds it, in a folder of ours and elsewhere."""
    content: Callable[[], bytes]
    """The content of that file."""

    @property
    def size(self) -> int:
        """One more than the highest id."""
        return 1 + max(self.library.get_vocab().values(), default=-1)

    def cut(self, text: str) -> list[int]:
        """The ids of a text, without start and end."""
        with library_errors():
            return list(self.library.encode(self.spell(text), add_special_tokens=False).ids)

    def save(self, folder: Path) -> None:
        """Write the file into a folder."""
        with atomic_write(folder / self.file_name) as temporary:
            temporary.write_bytes(self.content())


@contextmanager
def library_errors() -> Iterator[None]:
    """Make a ValueError of what the tokenizers library raises: a plain Exception, and where it has not thought of a
    case a panic, which is not even that."""
    try:
        yield
    except BaseException as error:
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"the tokenizers library says: {one_line(error)[:200]}") from error


START = "<|startoftext|>"
END = "<|endoftext|>"
WORD_END = "</w>"
SIGNS = sorted(pre_tokenizers.ByteLevel.alphabet())
"""The printable characters that stand for the 256 bytes, in the order of their ids."""
WORD_PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What CLIP takes for a word: contractions, runs of letters, single digits, runs of other signs."""
CLIP_MERGES = Path(str(files("vitaclip.backbones"))) / "assets" / "bpe_merges.txt.gz"
"""OpenAI's merges, as far as CLIP uses them; its license lies beside it."""
NUM_MERGES = 48_894
"""Merges of OpenAI's vocabulary. Its file holds over five times as many; CLIP never uses the rest."""

# The regex package and not the tokenizers library: their tables of letters differ by thousands of characters.
_WORDS = regex.compile(WORD_PATTERN, regex.IGNORECASE)
# Bytes keep their own character where that is visible and not a blank; the others take those from 256 on, in order.
_VISIBLE = [ord(sign) for sign in SIGNS if ord(sign) < 256]
_HIDDEN = [byte for byte in range(256) if byte not in _VISIBLE]
_SIGN_OF_BYTE = dict(zip([*_VISIBLE, *_HIDDEN], SIGNS, strict=True))


def read_merges(text: str) -> Vocabulary:
    """The vocabulary of a list with a version line and then a pair of entries a line, of which CLIP uses the first."""
    lines = text.rstrip("\n").split("\n")[1 : NUM_MERGES + 1]
    if len(lines) < NUM_MERGES:
        raise ValueError(f"{len(lines)} merges where CLIP has {NUM_MERGES}")
    return bpe_of_merges([tuple(line.split(" ")) for line in lines])  # type: ignore[misc]  # the library checks them


def bpe_of_merges(merges: Sequence[tuple[str, str]]) -> Vocabulary:
    """The vocabulary that merges make: bytes, bytes that end a word, merges, start and end token have ids in this
    order."""
    entries = [*SIGNS, *(sign + WORD_END for sign in SIGNS), *map("".join, merges), START, END]
    ids = {entry: number for number, entry in enumerate(entries)}
    return clip_vocabulary(
        models.BPE(ids, merges, unk_token=END, continuing_subword_prefix="", end_of_word_suffix=WORD_END)
    )


def clip_vocabulary(model: models.BPE) -> Vocabulary:
    """The vocabulary around a byte-pair model of CLIP's kind, with an entry for every byte: any text can be cut."""
    needed = (START, END, *SIGNS, *(sign + WORD_END for sign in SIGNS))
    if missing := [entry for entry in needed if model.token_to_id(entry) is None]:
        raise ValueError(f"lacks the entry {missing[0]!r}")
    library = Tokenizer(model)
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    library.add_special_tokens([START, END])
    return Vocabulary(library, _spell, "tokenizer.json", lambda: lay_out_bpe(model).to_str().encode())


def lay_out_bpe(model: models.BPE) -> Tokenizer:
    """A tokenizer of the library around a model, as a CLIP `tokenizer.json` holds it: for other readers, since its
    cleaning and its tables of letters differ from CLIP's."""
    bpe = Tokenizer(model)
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


def _spell(text: str) -> str:
    """The words of a text with a blank between, written in the signs of their bytes; special tokens stay."""
    words = _WORDS.findall(text)
    return " ".join(
        word if word in (START, END) else word.encode().decode("latin-1").translate(_SIGN_OF_BYTE) for word in words
    )
