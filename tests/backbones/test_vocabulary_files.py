"""The files a vocabulary comes in: each gives the same one; damaged and hostile ones are one line with a remedy."""

import gzip
import json
import os
import random
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Library
from tokenizers import models

from reference_clip import VOCABULARY_FILE, reference_tokenizer
from tokenizer_peers import learn_pieces
from vitaclip.backbones.tokenizer import Tokenizer, read_vocabulary
from vitaclip.backbones.vocabulary import END, START, Vocabulary, bpe_of_merges

TEXT = "a photo of a person playing guitar, schön 12!"
Content = dict[str, Any]


def merges_txt() -> str:
    """As repositories on the hub hold it: the merges in use, after a version line."""
    return "#version: 0.2\n" + "".join(f"{one} {two}\n" for one, two in reference_tokenizer().bpe_ranks)


@pytest.mark.parametrize(
    "content",
    [
        VOCABULARY_FILE.read_bytes(),
        gzip.decompress(VOCABULARY_FILE.read_bytes()),
        b"\xef\xbb\xbf" + merges_txt().replace("\n", "\r\n").encode(),
        read_vocabulary(VOCABULARY_FILE).content(),
    ],
    ids=["openai.gz", "openai.txt", "windows merges.txt", "tokenizer.json"],
)
def test_content_decides_not_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    tokenizer = Tokenizer(read_vocabulary(tmp_path / "file"))
    assert tokenizer.encode(TEXT) == reference_tokenizer().encode(TEXT)
    assert tokenizer.vocabulary.content() == Tokenizer(read_vocabulary()).vocabulary.content()


def small_json(change: Callable[[Content], object]) -> bytes:
    content = json.loads(bpe_of_merges([("a", "b"), ("ab", "c</w>")]).content())
    change(content)
    return json.dumps(content).encode()


def put(path: str, value: object) -> bytes:
    """A small tokenizer.json with a value at a place such as `model.vocab`."""

    def apply(content: Content) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            content = content[parent]
        content[last] = value

    return small_json(apply)


def read(content: bytes, folder: Path) -> Vocabulary:
    (folder / "file").write_bytes(content)
    return read_vocabulary(folder / "file")


def test_clip_json_is_cut_clips_way(tmp_path: Path) -> None:
    """Merges as texts, no type, an entry as padding, and whatever cleaning and cutting the file names."""

    def change(content: Content) -> None:
        content["model"]["merges"] = ["a b", "ab c</w>"]
        del content["model"]["type"]
        content["added_tokens"].append(content["added_tokens"][0] | {"id": 0, "content": "!"})
        content |= {"normalizer": {"type": "Prepend", "prepend": "x"}, "pre_tokenizer": None}
        content |= {"truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}}

    assert Tokenizer(read(small_json(change), tmp_path)).encode("ABC!!") == [513, 0, 256]


def test_dropout_of_a_file_drops_nothing(tmp_path: Path) -> None:
    vocabulary = read(put("model.dropout", 0.9), tmp_path)
    assert {tuple(vocabulary.cut("abc")) for _ in range(20)} == {(513,)}


def long_list(line: str = "", number: int = 0) -> bytes:
    lines = merges_txt().split("\n")
    lines[number] = line or lines[number]
    return "\n".join(lines).encode()


def unigram(**settings: Any) -> bytes:
    return learn_pieces(model_type="unigram", **settings)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (small_json(lambda content: content.pop("model")), "the tokenizers library says"),
        (put("model.type", "WordPiece"), "the tokenizers library says"),
        (put("model.vocab", {"a": 1}), "the tokenizers library says"),
        (put("model.vocab.Z", "7"), "the tokenizers library says"),
        (small_json(lambda c: (c["model"]["vocab"].pop(END), c["added_tokens"].pop())), "lacks the entry '<.end"),
        (small_json(lambda c: c["model"]["vocab"].pop(START)), "lacks the entry '<.start"),
        (put("model.merges", [["a", "b"], ["a"]]), "the tokenizers library says"),
        (put("model.merges", [["a", "x"]]), "the tokenizers library says"),
        (put("added_tokens", 3), "the tokenizers library says"),
        (put("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAAA"}), "the tokenizers library says"),
        (b"", "has no piece for what it does not know"),
        (b"no tokenizer at all", "damaged"),
        (long_list()[:100_000], "merges where CLIP has 48894"),
        (long_list("onlyone", 10), "damaged"),
        (long_list("zq xj</w>", 1), "the tokenizers library says"),
        (b"#version\n\xff\xfe", "'utf-8'"),
        (b"{half", "the tokenizers library says"),
        (b'{"model":' * 100_000, "the tokenizers library says"),
        (VOCABULARY_FILE.read_bytes()[:50_000], "damaged"),
        (b"\x1f\x8b" + b"\x00" * 100, "damaged"),
        (VOCABULARY_FILE.read_bytes()[:-8] + b"\x00" * 8, "damaged"),
        (learn_pieces(model_type="word"), "of a kind that no tower known here uses"),
        (unigram(treat_whitespace_as_suffix=True), "of a kind that no tower known here uses"),
        (unigram()[:-1000], "ends inside a field"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "number of more than 64 bits"),
    ],
)
def test_wrong_file_is_one_line_with_remedy(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(content, tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "file"))
    assert "copy it again" in str(caught.value)


@pytest.mark.parametrize("kind", ["unigram", "bpe", "json"])
def test_damage_gives_ids_or_a_value_error(kind: str, tmp_path: Path) -> None:
    """A few bytes changed anywhere: no other exception leaves, from reading or from cutting."""
    content = put("normalizer", None) if kind == "json" else learn_pieces(model_type=kind, byte_fallback=True)
    draw = random.Random(0)
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(min(len(damaged), draw.choice((100, 10**9))))] = draw.randrange(256)
        with suppress(ValueError):
            read(bytes(damaged), tmp_path).cut("schön, ½ ﷺ 人 ab abc")


def test_error_while_cutting_is_a_value_error() -> None:
    library = Library(models.WordLevel({"a": 0}, unk_token="b"))
    with pytest.raises(ValueError, match="the tokenizers library"):
        Vocabulary(library, str, "tokenizer.json", bytes).cut("c")


@pytest.mark.parametrize("kind", ["packed", "holes", "json", "pieces"])
def test_huge_file_takes_bounded_memory(kind: str, tmp_path: Path) -> None:
    """What unpacks to 512 MiB, a file of that size with holes, and 34 MB that would be many millions of values."""
    file = tmp_path / "file"
    if kind == "packed":
        with gzip.open(file, "wb", compresslevel=1) as packing:
            for _ in range(512):
                packing.write(bytes(2**20))
    elif kind == "holes":
        file.touch()
        os.truncate(file, 2**29)
    else:
        begin, part = {
            "json": (b'{"version":"1.0","model":{"type":"BPE","vocab":[', b"1,"),
            "pieces": (b"", b"\x0a\x00"),
        }[kind]
        file.write_bytes(begin + part * (34_000_000 // len(part)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"larger than 128 MiB|more than 8,000,000 values"):
            read_vocabulary(file)
        assert tracemalloc.get_traced_memory()[1] < 400 * 2**20
    finally:
        tracemalloc.stop()
