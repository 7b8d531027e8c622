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
from vitaclip.clip import Tokenizer, bpe_files
from vitaclip.clip.bpe import END, START, bpe_of_merges

TEXT = "a photo of a person playing guitar, schön 12!"
GZ, TXT = "bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt"
Content = dict[str, Any]


def expected_ids() -> list[int]:
    ids: list[int] = reference_tokenizer().encode(TEXT)
    return ids


def merges_txt() -> str:
    """As repositories on the hub hold it: the merges in use, after a version line."""
    return "#version: 0.2\n" + "".join(f"{one} {two}\n" for one, two in reference_tokenizer().bpe_ranks)


def write_tokenizer_json(path: Path) -> None:
    path.write_text(Tokenizer.from_file(VOCABULARY_FILE).to_json(), "utf-8")


def write_pair(folder: Path) -> None:
    (folder / "vocab.json").write_text(json.dumps(reference_tokenizer().encoder), "utf-8")
    (folder / "merges.txt").write_text(merges_txt(), "utf-8")


@pytest.mark.parametrize("name", ["tokenizer.json", GZ, TXT, "merges.txt", "renamed", "windows.txt"])
def test_content_decides_and_not_the_name(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    unpacked = gzip.decompress(VOCABULARY_FILE.read_bytes())
    if name == "tokenizer.json":
        write_tokenizer_json(file)
    elif name == "merges.txt":
        file.write_text(merges_txt(), "utf-8")
    elif name == "windows.txt":
        file.write_bytes(b"\xef\xbb\xbf" + unpacked.replace(b"\n", b"\r\n"))
    else:
        file.write_bytes(unpacked if name == TXT else VOCABULARY_FILE.read_bytes())
    assert Tokenizer.from_file(file).encode(TEXT) == expected_ids()


@pytest.mark.parametrize("names", bpe_files.TOKENIZER_FILES, ids=" with ".join)
def test_a_folder_with_any_of_the_files(names: tuple[str, ...], tmp_path: Path) -> None:
    if "merges.txt" in names:
        write_pair(tmp_path)
    elif "tokenizer.json" in names:
        write_tokenizer_json(tmp_path / "tokenizer.json")
    else:
        (tmp_path / names[0]).write_bytes(VOCABULARY_FILE.read_bytes())
    assert Tokenizer.from_folder(tmp_path).encode(TEXT) == expected_ids()


def test_earlier_names_go_first_and_half_a_pair_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no tokenizer in it; put one of these there: tokenizer\.json, vocab\.json"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "vocab.json").write_text("{half", "utf-8")
    (tmp_path / GZ).write_bytes(VOCABULARY_FILE.read_bytes())
    assert Tokenizer.from_folder(tmp_path).vocab_size == 49_408
    (tmp_path / "tokenizer.json").write_text(Tokenizer(bpe_of_merges([("a", "b")])).to_json(), "utf-8")
    assert Tokenizer.from_folder(tmp_path).vocab_size == 515


def small_json() -> Content:
    content: Content = json.loads(Tokenizer(bpe_of_merges([("a", "b"), ("ab", "c</w>")])).to_json())
    return content


def read_json(content: object, folder: Path) -> Tokenizer:
    (folder / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    return Tokenizer.from_file(folder / "tokenizer.json")


def test_tokenizer_json_of_older_versions(tmp_path: Path) -> None:
    """Merges as texts, no type, and whatever cleaning and cutting the file names."""
    content = small_json()
    content["model"]["merges"] = ["a b", "ab c</w>"]
    del content["model"]["type"]
    content["normalizer"] = {"type": "Prepend", "prepend": "x"}
    content["pre_tokenizer"] = None
    tokenizer = read_json(content, tmp_path)
    assert tokenizer.encode("ABC!") == [513, 256]


def test_added_tokens_that_change_no_text(tmp_path: Path) -> None:
    """Padding with an entry that is there; special tokens that stand nowhere else."""
    content = small_json()
    content["added_tokens"].append(content["added_tokens"][0] | {"id": 0, "content": "!"})
    del content["model"]["vocab"][START], content["model"]["vocab"][END]
    tokenizer = read_json(content, tmp_path)
    assert tokenizer.encode("a!!") == [320, 0, 256]
    assert (tokenizer.start_id, tokenizer.end_id) == (514, 515)


def change(path: str, value: object) -> Callable[[Content], None]:
    """Puts a value at a place such as `model.vocab`."""

    def apply(content: Content) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            content = content[parent]
        content[last] = value

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content.pop("model"), "JSON without a model; a vocab.json is read with its folder"),
        (change("model", []), "JSON without a model"),
        (change("model.type", "WordPiece"), "not a byte-pair model"),
        (change("model.end_of_word_suffix", None), "not a byte-pair model"),
        (change("model.dropout", 0.1), "with dropout"),
        (change("model.continuing_subword_prefix", "##"), "with continuing_subword_prefix"),
        (change("model.vocab", {"a": "b"}), "not texts with whole numbers"),
        (change("model.vocab", {}), "not texts with whole numbers"),
        (lambda content: (content["model"]["vocab"].pop(END), content["added_tokens"].pop()), "lacks the entry '<.end"),
        (lambda content: content["model"]["vocab"].pop("Z"), "lacks the entry 'Z'"),
        (change("model.vocab.Z", 7), "do not have the ids 0 to 515"),
        (change("model.vocab.Z", -1), "do not have the ids"),
        (change("model.vocab.Z", True), "not texts with whole numbers"),
        (change("model.merges", {}), "merges are not a list"),
        (change("model.merges", [["a", "b"], ["a"]]), "merge 1 is not a pair"),
        (change("model.merges", [["a", ["b"]]]), "merge 0 is not a pair"),
        (change("model.merges", ["a  b"]), "merge 0 is not a pair"),
        (change("model.merges", [["a", "x"]]), "lacks an entry for the merge 'a' with 'x'"),
        (change("added_tokens", [{"id": 516, "content": "<new>"}]), "adds the token"),
        (change("added_tokens", [{"id": 516, "content": []}]), "adds the token"),
        (change("added_tokens", 3), "added_tokens are not a list"),
        (change("added_tokens", ["!"]), "added_tokens are not a list"),
    ],
)
def test_wrong_tokenizer_json(damage: Callable[[Content], None], message: str, tmp_path: Path) -> None:
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
        (b"\x00\x01", "first line lacks #version"),
        (long_list("i n", 0), "first line lacks #version"),
        (long_list()[:100_000], "merges where CLIP has 48894"),
        (long_list("onlyone", 10), "line 11 is not a pair"),
        (long_list("one two three", 10), "line 11 is not a pair"),
        (long_list(" x", 10), "line 11 is not a pair"),
        (long_list("zq xj</w>", 1), "lacks an entry for the merge"),
        (long_list("t h", 1), "ids 0 to"),
        (b"#version\n\xff\xfe", "not UTF-8"),
        (b"{half", "damaged JSON"),
        (b"[" * 100_000, "first line lacks #version"),
        (b'{"model":' * 100_000, "damaged JSON"),
        (b'{"model": ' + b"9" * 5000 + b"}", "damaged JSON"),
        (VOCABULARY_FILE.read_bytes()[:50_000], "damaged gzip"),
        (b"\x1f\x8b" + b"\x00" * 100, "damaged gzip"),
        (VOCABULARY_FILE.read_bytes()[:-8] + b"\x00" * 8, "damaged gzip"),
        (gzip.compress(b"\xff" * 100, mtime=0), "not UTF-8"),
    ],
)
def test_damaged_files(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        Tokenizer.from_file(tmp_path / "file")
    assert_remedy(caught.value, tmp_path / "file")


def test_damaged_pairs_name_both_files(tmp_path: Path) -> None:
    write_pair(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0}), "utf-8")
    with pytest.raises(ValueError, match=r"vocab\.json with merges\.txt: .*lacks the entry") as caught:
        Tokenizer.from_folder(tmp_path)
    assert_remedy(caught.value, tmp_path / "vocab.json")


def test_missing_files(tmp_path: Path) -> None:
    for path in (tmp_path / "tokenizer.json", tmp_path):
        with pytest.raises(ValueError, match=r"no such file; give a tokenizer\.json"):
            Tokenizer.from_file(path)


@pytest.mark.parametrize("packed", [True, False])
def test_memory_is_bounded_for_huge_files(packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that unpacks to 64 MiB, and one of that size (with holes), against a limit of 1 MiB."""
    monkeypatch.setattr(bpe_files, "MOST_BYTES", 2**20)
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
