"""Small tokenizers of each family, the peers that read the same files, and the texts that both are given.

Nothing is fetched: the vocabularies are learned here from the catalogue's names, by sentencepiece and by the tokenizers
library.
"""

import io
import json
import random
import string
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece
from sentencepiece.sentencepiece_model_pb2 import ModelProto  # type: ignore[attr-defined]
from tokenizers import Tokenizer as Library
from tokenizers import models, normalizers, pre_tokenizers, trainers

from reference_clip import VOCABULARY_FILE, reference_tokenizer
from vitaclip.backbones.config import TextLayoutConfig
from vitaclip.backbones.tokenizer import Tokenizer, read_vocabulary
from vitaclip.catalog import dataset_names, load_dataset_classes

LENGTH = 192
"""Room for the longest of the texts."""
Rows = list[list[int]]


class Family(NamedTuple):
    """A tokenizer of ours, the peer on the same file, and which texts the peer is asked about."""

    ours: Tokenizer
    theirs: Callable[..., Rows]
    """Rows of LENGTH ids, padding included, for texts; of transformers' tokenizers also cut to another length."""
    peer: str
    asked: Callable[[str], bool] = lambda _: True
    """False for texts that the peer reads otherwise than the training of the family did."""


@cache
def english() -> tuple[str, ...]:
    """Every class name and wording of the catalogue."""
    classes = [load_dataset_classes(dataset) for dataset in dataset_names()]
    return tuple(dict.fromkeys(text for each in classes for text in (*each.names, *each.prompts)))


@cache
def five_languages() -> tuple[str, ...]:
    """The names of HMDB51 in French, Russian, Arabic, Hindi and Japanese, by the authors of this package."""
    file = Path(__file__).parent / "backbones" / "hmdb51_in_five_languages.txt"
    return tuple(name for line in file.read_text("utf-8").splitlines() for name in line.split("; "))


SIGNS = (
    *(
        string.ascii_letters * 2,
        string.digits,
        string.punctuation,
        "     \t\n\r",
        "éüñßçøÅ人在跳舞走っている한글\u1100\u1161",
    ),
    *("…“”½ﬁ①Ⅳ\u00a0\u200b\u3000e\u0301\u0308ﷺ㍿¨ΣςİI\u0131ガﾞが", "😀👨\u200d\ufe0f\u2581\x07\x7f\ufffd"),
)


@cache
def hostile(count: int) -> tuple[str, ...]:
    """Texts that no one would write: signs of all kinds in any order, and characters of all of Unicode."""
    draw, texts = random.Random(0), []
    for number in range(count):
        signs: Sequence[str] = "".join(SIGNS)
        if number % 5 == 0:
            signs = [chr(code + 0x800 * (code >= 0xD800)) for code in draw.sample(range(1, 0x10F800), 40)]
        texts.append("".join(draw.choices(signs, k=draw.randint(0, 40))))
    return tuple(texts)


def families(folder: Path) -> dict[str, Family]:
    """Every kind of tokenizer that the towers come with; its files are written to `folder`."""
    from transformers import BertTokenizer, Siglip2Tokenizer, SiglipTokenizer, T5Tokenizer, XLMRobertaTokenizer

    unigram, gemma = folder / "spiece.model", folder / "tokenizer.model"
    unigram.write_bytes(learn_pieces(model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1))
    gemma.write_bytes(learn_pieces(**GEMMA))
    message = ModelProto.FromString(unigram.read_bytes())
    pieces, table = (
        [(piece.piece, piece.score) for piece in message.pieces],
        message.normalizer_spec.precompiled_charsmap,
    )
    xlm = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces[3:]]
    bert = BertTokenizer(vocab=_learn_words())
    siglip = TextLayoutConfig(start=(), end=(1,), pad=1, feature="last", clean="canonicalize")
    siglip2 = TextLayoutConfig(start=(), end=(1,), pad=0, feature="last", clean="lower")
    metaclip2 = TextLayoutConfig(start=(0,), end=(2,), pad=1, clean="none")
    mt5 = TextLayoutConfig(start=(), end=(1,), pad=0, clean="none")
    clipa = TextLayoutConfig(start=(CLS,), end=(0,), feature="last", clean="none")
    openvision = TextLayoutConfig(start=(1,), end=(2,), last=CLS, feature="last", clean="none")
    return {
        "CLIP: merges": Family(_read(VOCABULARY_FILE, TextLayoutConfig()), _openai, "openai-clip"),
        "SigLIP: spiece.model": Family(
            _read(unigram, siglip),
            _padded(SiglipTokenizer(str(unigram))),
            "SiglipTokenizer",
            lambda text: "_" not in text,  # it joins the words beside an underscore, big_vision parts them
        ),
        "SigLIP 2: tokenizer.json": _of_json(
            Siglip2Tokenizer(*_learn_bytes(), add_bos_token=False, add_eos_token=True), folder / "siglip2", siglip2
        ),
        "SigLIP 2: tokenizer.model": Family(_read(gemma, siglip2), _sentencepiece(gemma), "sentencepiece"),
        "MetaCLIP 2: tokenizer.json": _of_json(
            XLMRobertaTokenizer(xlm, _spm_precompiled_charsmap=table), folder / "xlm", metaclip2
        ),
        "mT5: tokenizer.json": _of_json(
            T5Tokenizer(vocab=pieces, extra_ids=0, _spm_precompiled_charsmap=table), folder / "mt5", mt5
        ),
        "CLIPA: tokenizer.json": _of_json(bert, folder / "clipa", clipa)._replace(theirs=_without_sep(_padded(bert))),
        "OpenVision: tokenizer.json": _of_json(bert, folder / "bert", openvision)._replace(theirs=_openvision(bert)),
    }


def _of_json(peer: Any, folder: Path, config: TextLayoutConfig) -> Family:
    """A tokenizer of transformers, and ours of the tokenizer.json that it writes."""
    peer.save_pretrained(folder)
    return Family(_read(folder / "tokenizer.json", config), _padded(peer), type(peer).__name__)


def _read(file: Path, config: TextLayoutConfig) -> Tokenizer:
    return Tokenizer(read_vocabulary(file), config, full_length=True)


def learn_pieces(**settings: Any) -> bytes:
    """The content of a model that sentencepiece learns from the names of all languages."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*english(), *five_languages()]),
        model_writer=model,
        vocab_size=1600,
        minloglevel=2,
        hard_vocab_limit=False,
        **settings,
    )
    return model.getvalue()


GEMMA = {
    **{"model_type": "bpe", "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "byte_fallback": True},
    **{"normalization_rule_name": "identity", "add_dummy_prefix": False, "remove_extra_whitespaces": False},
    **{"split_digits": True, "user_defined_symbols": ["<mask>", "\n\n", "<h1>", "▁▁"]},
}
"""As Gemma's was learned: texts stay as they are, unknown signs fall into bytes, some texts are pieces of their own."""


def _learn_bytes() -> tuple[Any, Any]:
    """Entries and merges of a byte-pair model that falls back to bytes."""
    library = Library(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    texts = [text.lower().replace(" ", "▁") for text in (*english(), *five_languages())]
    library.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=1600, special_tokens=special, show_progress=False)
    )
    model = json.loads(library.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


CLS, SEP = 101, 102


def _learn_words() -> dict[str, int]:
    """BERT's list of entries: its special tokens where they are in BERT's own, then whole words and pieces."""
    library = Library(models.WordPiece(unk_token="[UNK]"))
    library.normalizer, library.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", *(f"[unused{number}]" for number in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    texts = [*english(), *five_languages()]
    library.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=1600, special_tokens=special, show_progress=False)
    )
    return library.get_vocab()


def _openai(texts: Sequence[str]) -> Rows:
    return _fill([[49_406, *reference_tokenizer().encode(text), 49_407] for text in texts])


def _padded(peer: Any) -> Callable[..., Rows]:
    """A tokenizer of transformers, padded and cut as for the image-text models of its family."""
    how = {"padding": "max_length", "padding_side": "right", "truncation": True}
    return lambda texts, length=LENGTH: peer(list(texts), max_length=length, **how)["input_ids"]


def _sentencepiece(file: Path) -> Callable[[Sequence[str]], Rows]:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(file))
    lower = normalizers.Lowercase().normalize_str  # Siglip2Tokenizer's
    return lambda texts: _fill([[*processor.encode(lower(text)), 1] for text in texts])


def _without_sep(peer: Callable[..., Rows]) -> Callable[..., Rows]:
    """open_clip's `strip_sep_token`."""
    return lambda *asked: [[0 if number == SEP else number for number in row] for row in peer(*asked)]


def _openvision(bert: Any) -> Callable[[Sequence[str]], Rows]:
    """open_clip's tokenizer mode `clips`."""

    def rows(texts: Sequence[str]) -> Rows:
        ids = bert(list(texts), add_special_tokens=False)["input_ids"]
        return [[*row[:-1], CLS] for row in _fill([[1, *row, 2] for row in ids])]

    return rows


def _fill(rows: Rows) -> Rows:
    return [row + [0] * (LENGTH - len(row)) for row in rows]
