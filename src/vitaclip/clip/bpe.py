"""The byte-pair model of CLIP's tokenizer.

Its entries are 256 signs that stand for the bytes, the same 256 with the mark of a word's end, one entry for each
merge, and two special tokens: 49,408 in OpenAI's CLIP and nearly all models after it.
"""

from collections.abc import Mapping, Sequence

from tokenizers import Regex, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as BPETokenizer

START = "<|startoftext|>"
END = "<|endoftext|>"
WORD_END = "</w>"
SIGNS = sorted(pre_tokenizers.ByteLevel.alphabet())
"""The printable characters that stand for the 256 bytes, in the order of their ids."""
WORD_PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What CLIP takes for a word: contractions, runs of letters, single digits, runs of other signs."""


def bpe_of_merges(merges: Sequence[tuple[str, str]]) -> models.BPE:
    """The model that merges make: bytes, bytes that end a word, merges, start and end token have ids in this order.

    Raises:
        ValueError: as `build_bpe` does.
    """
    entries = [*SIGNS, *(sign + WORD_END for sign in SIGNS), *map("".join, merges), START, END]
    return build_bpe({entry: number for number, entry in enumerate(entries)}, merges)


def build_bpe(ids: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> models.BPE:
    """The model of these entries, and of merges in the order in which they are made.

    Raises:
        ValueError: if a special token, an entry for a byte or one that a merge needs is not there, or if the ids are
            not 0, 1, 2, ..., each once.
    """
    needed = [START, END, *SIGNS, *(sign + WORD_END for sign in SIGNS)]
    missing = [entry for entry in needed if entry not in ids]
    if missing:
        raise ValueError(f"lacks the entry {missing[0]!r}")
    if sorted(ids.values()) != list(range(len(ids))):
        raise ValueError(f"its {len(ids)} entries do not have the ids 0 to {len(ids) - 1}, each once")
    for one, two in merges:
        if one not in ids or two not in ids or one + two not in ids:
            raise ValueError(f"lacks an entry for the merge {one[:40]!r} with {two[:40]!r}")
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
