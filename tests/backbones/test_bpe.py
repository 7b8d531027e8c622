"""The files a tokenizer comes in: each gives the same one; damaged and hostile ones are one line with a remedy."""

import gzip
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reference_clip import VOCABULARY_FILE, reference_tokenizer
from vitaclip.backbones import Tokenizer
from vitaclip.backbones.bpe import END, START, bpe_of_merges

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
        Tokenizer.from_file(VOCABULARY_FILE).to_json().encode(),
    ],
    ids=["openai.gz", "openai.txt", "windows merges.txt", "tokenizer.json"],
)
def test_content_decides_not_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    tokenizer = Tokenizer.from_file(tmp_path / "file")
    assert tokenizer.encode(TEXT) == reference_tokenizer().encode(TEXT)
    assert tokenizer.to_json() == Tokenizer.from_file().to_json()


def small_json(change: Callable[[Content], object]) -> bytes:
    content = json.loads(Tokenizer(bpe_of_merges([("a", "b"), ("ab", "c</w>")])).to_json())
    change(content)
    return json.dumps(content).encode()


def read(content: bytes, folder: Path) -> Tokenizer:
    (folder / "file").write_bytes(content)
    return Tokenizer.from_file(folder / "file")


def test_old_tokenizer_json_is_read(tmp_path: Path) -> None:
    """Merges as texts, no type, and whatever cleaning and cutting the file names."""

    def change(content: Content) -> None:
        content["model"]["merges"] = ["a b", "ab c</w>"]
        del content["model"]["type"]
        content |= {"normalizer": {"type": "Prepend", "prepend": "x"}, "pre_tokenizer": None}

    assert read(small_json(change), tmp_path).encode("ABC!") == [513, 256]


def test_added_tokens_may_repeat_entries(tmp_path: Path) -> None:
    """Padding with an entry that is there; special tokens that stand nowhere else."""

    def change(content: Content) -> None:
        content["added_tokens"].append(content["added_tokens"][0] | {"id": 0, "content": "!"})
        del content["model"]["vocab"][START], content["model"]["vocab"][END]

    tokenizer = read(small_json(change), tmp_path)
    assert tokenizer.encode("a!!") == [320, 0, 256]
    assert (tokenizer.start_id, tokenizer.end_id) == (514, 515)


def put(path: str, value: object) -> bytes:
    """A small tokenizer.json with a value at a place such as `model.vocab`."""

    def apply(content: Content) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            content = content[parent]
        content[last] = value

    return small_json(apply)


def long_list(line: str = "", number: int = 0) -> bytes:
    lines = merges_txt().split("\n")
    lines[number] = line or lines[number]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (small_json(lambda content: content.pop("model")), "damaged .KeyError"),
        (put("model", []), "damaged"),
        (put("model.type", "WordPiece"), "not a byte-pair model"),
        (put("model.end_of_word_suffix", None), "not a byte-pair model"),
        (put("model.dropout", 0.1), "not a byte-pair model"),
        (put("model.vocab", {"a": "b"}), "lacks the entry"),
        (small_json(lambda c: (c["model"]["vocab"].pop(END), c["added_tokens"].pop())), "lacks the entry '<.end"),
        (put("model.vocab.Z", 7), "do not have the ids 0 to 515"),
        (put("model.vocab.Z", True), "do not have the ids"),
        (put("model.vocab.Z", "7"), "do not have the ids"),
        (put("model.merges", {"ab": 1}), "merge 0 is not a pair"),
        (put("model.merges", 7), "damaged"),
        (put("model.merges", [["a", "b"], ["a"]]), "merge 1 is not a pair"),
        (put("model.merges", [["a", ["b"]]]), "merge 0 is not a pair"),
        (put("model.merges", ["a  b"]), "merge 0 is not a pair"),
        (put("model.merges", [["a", "x"]]), "merge 0 is not a pair"),
        (put("added_tokens", [{"id": 516, "content": "<new>"}]), "adds the token"),
        (put("added_tokens", [{"id": 516, "content": []}]), "damaged"),
        (put("added_tokens", 3), "damaged"),
        (b"", "first line lacks #version"),
        (long_list("i n", 0), "first line lacks #version"),
        (long_list()[:100_000], "merges where CLIP has 48894"),
        (long_list("onlyone", 10), "merge 9 is not a pair"),
        (long_list("zq xj</w>", 1), "merge 0 is not a pair"),
        (long_list("t h", 1), "ids 0 to"),
        (b"#version\n\xff\xfe", "'utf-8'"),
        (b"{half", "no tokenizer of CLIP's kind"),
        (b'{"model":' * 100_000, "damaged .RecursionError"),
        (b'{"model": ' + b"9" * 5000 + b"}", "no tokenizer of CLIP's kind"),
        (VOCABULARY_FILE.read_bytes()[:50_000], "damaged .EOFError"),
        (b"\x1f\x8b" + b"\x00" * 100, "damaged"),
        (VOCABULARY_FILE.read_bytes()[:-8] + b"\x00" * 8, "damaged"),
    ],
)
def test_wrong_file_is_one_line_with_remedy(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(content, tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "file"))
    assert "copy it again" in str(caught.value)


@pytest.mark.parametrize("packed", [True, False])
def test_huge_file_takes_bounded_memory(packed: bool, tmp_path: Path) -> None:
    """A file that unpacks to 512 MiB, and one of that size (with holes)."""
    file = tmp_path / "file"
    if packed:
        with gzip.open(file, "wb", compresslevel=1) as packing:
            for _ in range(512):
                packing.write(bytes(2**20))
    else:
        file.touch()
        os.truncate(file, 2**29)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="larger than 32 MiB"):
            Tokenizer.from_file(file)
        assert tracemalloc.get_traced_memory()[1] < 150 * 2**20
    finally:
        tracemalloc.stop()
