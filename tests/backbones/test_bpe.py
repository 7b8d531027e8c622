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
from vitaclip.backbones import Tokenizer, bpe
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


def small_json() -> Content:
    content: Content = json.loads(Tokenizer(bpe_of_merges([("a", "b"), ("ab", "c</w>")])).to_json())
    return content


def read_json(content: object, folder: Path) -> Tokenizer:
    (folder / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    return Tokenizer.from_file(folder / "tokenizer.json")


def test_old_tokenizer_json_is_read(tmp_path: Path) -> None:
    """Merges as texts, no type, and whatever cleaning and cutting the file names."""
    content = small_json()
    content["model"]["merges"] = ["a b", "ab c</w>"]
    del content["model"]["type"]
    content["normalizer"] = {"type": "Prepend", "prepend": "x"}
    content["pre_tokenizer"] = None
    assert read_json(content, tmp_path).encode("ABC!") == [513, 256]


def test_added_tokens_may_repeat_entries(tmp_path: Path) -> None:
    """Padding with an entry that is there; special tokens that stand nowhere else."""
    content = small_json()
    content["added_tokens"].append(content["added_tokens"][0] | {"id": 0, "content": "!"})
    del content["model"]["vocab"][START], content["model"]["vocab"][END]
    tokenizer = read_json(content, tmp_path)
    assert tokenizer.encode("a!!") == [320, 0, 256]
    assert (tokenizer.start_id, tokenizer.end_id) == (514, 515)


def change(path: str, value: object) -> Callable[[Content], None]:
    """Put a value at a place such as `model.vocab`."""

    def apply(content: Content) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            content = content[parent]
        content[last] = value

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content.pop("model"), "damaged JSON: KeyError"),
        (change("model", []), "damaged JSON"),
        (change("model.type", "WordPiece"), "not a byte-pair model"),
        (change("model.end_of_word_suffix", None), "not a byte-pair model"),
        (change("model.dropout", 0.1), "not a byte-pair model"),
        (change("model.vocab", {"a": "b"}), "lacks the entry"),
        (lambda content: (content["model"]["vocab"].pop(END), content["added_tokens"].pop()), "lacks the entry '<.end"),
        (change("model.vocab.Z", 7), "do not have the ids 0 to 515"),
        (change("model.vocab.Z", True), "do not have the ids"),
        (change("model.vocab.Z", "7"), "do not have the ids"),
        (change("model.merges", {"ab": 1}), "merge 0 is not a pair"),
        (change("model.merges", 7), "damaged JSON"),
        (change("model.merges", [["a", "b"], ["a"]]), "merge 1 is not a pair"),
        (change("model.merges", [["a", ["b"]]]), "merge 0 is not a pair"),
        (change("model.merges", ["a  b"]), "merge 0 is not a pair"),
        (change("model.merges", [["a", "x"]]), "merge 0 is not a pair"),
        (change("added_tokens", [{"id": 516, "content": "<new>"}]), "adds the token"),
        (change("added_tokens", [{"id": 516, "content": []}]), "damaged JSON"),
        (change("added_tokens", 3), "damaged JSON"),
    ],
)
def test_wrong_tokenizer_json_is_refused(damage: Callable[[Content], None], message: str, tmp_path: Path) -> None:
    content = small_json()
    damage(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_json(content, tmp_path)
    assert_remedy(caught.value, tmp_path / "tokenizer.json")


def assert_remedy(error: ValueError, file: Path) -> None:
    assert "\n" not in str(error)
    assert str(error).startswith(str(file))
    assert "copy it again" in str(error)


def long_list(line: str = "", number: int = 0) -> bytes:
    lines = merges_txt().split("\n")
    lines[number] = line if line else lines[number]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "first line lacks #version"),
        (long_list("i n", 0), "first line lacks #version"),
        (long_list()[:100_000], "merges where CLIP has 48894"),
        (long_list("onlyone", 10), "merge 9 is not a pair"),
        (long_list("one two three", 10), "merge 9 is not a pair"),
        (long_list("zq xj</w>", 1), "merge 0 is not a pair"),
        (long_list("t h", 1), "ids 0 to"),
        (b"#version\n\xff\xfe", "damaged: 'utf-8'"),
        (b"{half", "damaged JSON"),
        (b"[" * 100_000, "first line lacks #version"),
        (b'{"model":' * 100_000, "damaged JSON: RecursionError"),
        (b'{"model": ' + b"9" * 5000 + b"}", "damaged JSON"),
        (VOCABULARY_FILE.read_bytes()[:50_000], "damaged: "),
        (b"\x1f\x8b" + b"\x00" * 100, "damaged: "),
        (VOCABULARY_FILE.read_bytes()[:-8] + b"\x00" * 8, "damaged: "),
    ],
)
def test_damaged_file_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        Tokenizer.from_file(tmp_path / "file")
    assert_remedy(caught.value, tmp_path / "file")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no such file; give a tokenizer\.json"):
        Tokenizer.from_file(tmp_path)


@pytest.mark.parametrize("packed", [True, False])
def test_huge_file_takes_bounded_memory(packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that unpacks to 64 MiB, and one of that size (with holes), against a limit of 1 MiB."""
    monkeypatch.setattr(bpe, "MAX_BYTES", 2**20)
    file = tmp_path / "file"
    if packed:
        file.write_bytes(gzip.compress(bytes(64 * 2**20), compresslevel=1))
    else:
        file.touch()
        os.truncate(file, 64 * 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="larger than 1 MiB") as caught:
            Tokenizer.from_file(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * 2**20
    assert_remedy(caught.value, file)
