"""What is read from the headers of a tar file, against webdataset's own reader; and tar files that cannot be read."""

import gzip
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
import webdataset

from shard_files import add, tar_of, write_shard
from vitaclip.data.reading.tar import read_shard

NAMES = [
    *("a.mp4", "b.c.mp4", "sub/d.MP4", "./sub/e.webm", "sub.x/f.avi", "g.cam1.mkv", "a b ü.mp4"),
    f"{'long' * 40}.mp4",
]


def contents(address: Path) -> dict[str, tuple[bytes, str]]:
    """Video bytes and label by the members' names."""
    return {video.name: (video.open().read(), label) for video, label in read_shard(str(address))[0].items()}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_keys_and_labels_equal_webdataset(form: int, tmp_path: Path) -> None:
    names = NAMES if form != tarfile.USTAR_FORMAT else NAMES[:-1]  # which has no room for long names
    with tarfile.open(tmp_path / "x.tar", "w", format=form) as tar:
        for number, name in enumerate(names):
            folder, _, base = name.rpartition("/")
            key = f"{folder}/{base.split('.')[0]}".removeprefix("/") if folder else base.split(".")[0]
            add(tar, name, bytes([number]) * (700 * number + 1))
            add(tar, f"{key}.cls", str(number).encode())
            add(tar, f"{key}.caption", b"not looked at")
    found = contents(tmp_path / "x.tar")
    read = list(webdataset.WebDataset(str(tmp_path / "x.tar"), shardshuffle=False, empty_check=False))
    assert len(read) == len(names)
    for name, sample in zip(names, read, strict=True):
        (video,) = (value for ending, value in sample.items() if ending.split(".")[-1] in ("mp4", "webm", "avi", "mkv"))
        assert found[name] == (video, sample["cls"].decode())


def test_tar_files_of_webdataset_are_read(tmp_path: Path) -> None:
    samples: list[dict[str, Any]] = [
        {"__key__": "0", "mp4": b"zero", "cls": 5},
        {"__key__": "1", "mp4": b"one", "txt": "door, opening"},
        {"__key__": "2", "json": {"seconds": 3, "Label": "archery"}, "mp4": b"two"},
        {"__key__": "3", "mp4": b"three", "json": {"fps": 25}, "txt": "4"},
        {"__key__": "4", "mp4": b"four", "json": {"label": [7]}, "txt": "a caption"},
        {"__key__": "5", "mp4": b"five", "json": 8, "cls": 9},
    ]
    labels = ["5", "door, opening", "archery", "4", "7", "9"]
    expected = {f"{n}.mp4": (s["mp4"], label) for n, (s, label) in enumerate(zip(samples, labels, strict=True))}
    assert contents(write_shard(tmp_path / "x.tar", samples)) == expected


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"a.mp4": b"0"}, r"x\.tar::a\.mp4: no label; its key, .* is 'a': put a\.cls with"),
        ({"d/a.mp4": b"0", "a.cls": b"0"}, r"no label; .*: put d/a\.cls"),
        ({"a.mp4": b"0", "a.txt": b"  \n"}, r"no label; .*: put"),
        ({"T 2.0 (x).mp4": b"0", "T 2.0 (x).cls": b"1"}, r"key, .* is 'T 2': put T 2\.cls"),
        ({"a.mp4": b"0", "a.txt": b"\xff\xfe"}, "its txt .*can't decode byte 0xff.*; write it anew"),
        ({"a.mp4": b"0", "a.json": b"{"}, "its json is no JSON"),
        (
            {"a.mp4": b"0", "a.json": b'{"label": [1, [2]]}'},
            r"label \[1, \[2\]\] must be a number or a name, or a list",
        ),
        ({"a.mp4": b"0", "a.json": b'{"label": 1.5}'}, "label 1.5 must be a number or a name"),
        ({"a.mp4": b"0", "a.webm": b"1", "a.cls": b"0"}, r"the key has another video, a\.webm; give each a key"),
        ({"a.jpg": b"0", "a.cls": b"0"}, r"x\.tar: holds no video; its members are to be named key\.mp4"),
    ],
)
def test_what_is_wrong_with_a_sample_is_said(members: dict[str, bytes], problem: str, tmp_path: Path) -> None:
    good = {"good.mp4": b"1", "good.cls": b"3"} if "holds no video" not in problem else {}
    videos, (found,) = read_shard(str(tar_of(tmp_path / "x.tar", {**members, **good})))
    assert [video.name for video in videos] == list(good)[:1]
    assert re.search(problem, found)


def test_links_and_folders_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        add(tar, "a.mp4", b"0")
        add(tar, "a.cls", b"0")
        for name, kind in (("b.mp4", tarfile.SYMTYPE), ("c.mp4", tarfile.LNKTYPE), ("d.mp4", tarfile.DIRTYPE)):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "a.mp4"
            tar.addfile(header)
    videos, problems = read_shard(str(tmp_path / "x.tar"))
    assert ([video.name for video in videos], problems) == (["a.mp4"], [])


def test_damaged_tar_files_are_noticed(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "x.tar", {"a.mp4": bytes(3000), "a.cls": b"0", "b.mp4": bytes(100), "b.cls": b"1"})
    content = whole.read_bytes()
    end = 512 + 3072 + 1024 + 1024 + 1024
    assert set(content[end:]) == {0}
    for length in [1, 300, 512, 513, 1000, 3583, 3584, 4000, 4096, 4608, end - 512, end - 1, end]:
        whole.write_bytes(content[:length])
        assert re.search(
            r"x\.tar: is (compressed, damaged, cut short|cut short or damaged)", read_shard(str(whole))[1][0]
        )
    whole.write_bytes(content[: end + 512])
    assert len(read_shard(str(whole))[0]) == 2
    damaged = bytearray(content)
    damaged[4608 + 5] ^= 255  # in a header
    whole.write_bytes(damaged)
    assert re.search(r"x\.tar: is cut short or damaged at byte 4608: copy it again", read_shard(str(whole))[1][0])


@pytest.mark.parametrize("what", ["compressed", "empty", "a page", "a huge header"])
def test_what_is_no_plain_tar_file_is_refused(what: str, tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "x.tar", {"a.mp4": b"0", "a.cls": b"0"})
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 29
    content = {"compressed": gzip.compress(tar.read_bytes()), "empty": b"", "a page": b"<html>" * 500}
    tar.write_bytes(content.get(what, header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16)))
    (problem,) = read_shard(str(tar))[1]
    assert re.search(r"x\.tar: is compressed, damaged, cut short or no tar file \(.*\): unpack a \.tar\.gz", problem)
    assert read_shard("none.tar")[1] == ["none.tar: cannot be read (No such file or directory): check the path"]


def test_large_offsets(tmp_path: Path) -> None:
    """Beyond 2 GiB, in a file with a hole."""
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        header = tarfile.TarInfo("hole.bin")
        header.size = 3 << 30
        assert tar.fileobj is not None
        tar.fileobj.write(header.tobuf())
        tar.fileobj.seek(512 + header.size)
        tar.offset += 512 + header.size
        add(tar, "a.mp4", b"far")
        add(tar, "a.cls", b"0")
    assert contents(tmp_path / "x.tar") == {"a.mp4": (b"far", "0")}
