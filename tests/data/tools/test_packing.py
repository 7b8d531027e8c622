"""Packing: webdataset and our own reader find the videos of the list, bytes and labels the same."""

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import webdataset

from small_world import Refusal
from vitaclip.cli import main
from vitaclip.data.lists.class_names import read_class_names
from vitaclip.data.lists.sources import read_folder, read_shards, read_videos
from vitaclip.data.lists.video_list import read_list
from vitaclip.data.tools.packing import ShardConfig, pack_videos

SMALL = ShardConfig(max_gib=60_000 / 2**30)


@pytest.fixture
def folder(video_folder: Path, tmp_path: Path) -> Path:
    """Two classes; names with dots, blanks and signs of other scripts, one of them in both classes."""
    for name in ("door_opens", "door_closes"):
        (tmp_path / "videos" / name).mkdir(parents=True)
    names = ("a.mp4", "b.x.MP4", "c d.mp4", "é.mp4", "e.mp4")
    for number, video in enumerate(sorted(video_folder.glob("*.mp4"))):
        folder = ("door_opens", "door_closes")[number // 5]
        shutil.copyfile(video, tmp_path / "videos" / folder / names[number % 5])
    return tmp_path / "videos"


def pack(folder: Path, out: Path) -> None:
    list(pack_videos(read_folder(folder), out, SMALL))


def write_pictures(folder: Path) -> None:
    folder.mkdir()
    (folder / "img_1.jpg").touch()


def contents(folder: Path) -> Counter[tuple[bytes, int]]:
    """What webdataset reads."""
    data = webdataset.WebDataset(sorted(map(str, folder.glob("*.tar"))), shardshuffle=False)
    found = Counter((sample["mp4"], int(sample["cls"])) for sample in data)
    assert max(Counter(sample["__key__"] for sample in data).values()) == 1
    return found


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_webdataset_and_own_reader_agree(folder: Path, tmp_path: Path) -> None:
    videos = read_folder(folder)
    packed = list(pack_videos(videos, tmp_path / "out", SMALL))
    expected = Counter((Path(str(row.path)).read_bytes(), row.label) for row in videos.samples)
    assert contents(tmp_path / "out") == expected
    names = read_class_names(tmp_path / "out" / "classes.txt")
    assert names == videos.class_names == ("door closes", "door opens")
    found = read_shards(str(tmp_path / "out"), names).samples
    assert Counter((row.path.open("rb").read(), row.label) for row in found) == expected
    assert len(packed) > 2
    sizes = [shard.stat().st_size for shard in packed]
    assert max(sizes) <= 60_000
    labels = [row.label for row in found]
    assert labels != sorted(labels)


def test_the_same_videos_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        pack(folder, tmp_path / name)
    assert hashes(tmp_path / "first") == hashes(tmp_path / "second")


def test_unreadable_video_leaves_no_partial_tar(folder: Path, tmp_path: Path) -> None:
    packing = pack_videos(read_folder(folder), tmp_path / "out", ShardConfig())
    (folder / "door_opens" / "e.mp4").unlink()
    with pytest.raises(FileNotFoundError):
        list(packing)
    assert not list((tmp_path / "out").glob("*tar*"))


def test_tar_files_are_packed_anew(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "first")
    videos = read_shards(str(tmp_path / "first"))
    assert len(list(pack_videos(videos, tmp_path / "again", ShardConfig()))) == 1
    assert contents(tmp_path / "again") == contents(tmp_path / "first")
    names = {row.path.parts[-1] for row in read_shards(str(tmp_path / "again")).samples}
    assert {name[9:] for name in names} == {row.path.parts[-1] for row in videos.samples}


def test_command_packs_a_list(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [*sorted(folder.glob("door_closes/*")), *sorted(folder.glob("door_opens/*"))]
    lines = [f"{path.relative_to(folder)},{path.parent.name}\n" for path in paths]
    (tmp_path / "train.csv").write_text("".join(lines))
    (tmp_path / "names.txt").write_text("door opens\ndoor closes\n")
    out = str(tmp_path / "out")
    arguments = ["data", "shard", f"{tmp_path}/train.csv", "--root", str(folder), "--classes", f"{tmp_path}/names.txt"]
    assert main([*arguments, "--out", out]) == 0
    printed = capsys.readouterr().out
    rows = dict(" ".join(line.split()).strip("│ ").split(" │ ") for line in printed.splitlines() if "│" in line)
    assert (rows["videos"], rows["tar files"]) == ("10", "1")
    videos = read_videos(f"{out}/shard-{{000000..000000}}.tar", "data.train", classes=f"{out}/classes.txt")
    assert videos.class_names == ("door opens", "door closes")
    rows_of_list = read_list(tmp_path / "train.csv", folder, videos.class_names).samples
    assert Counter(row.label for row in videos.samples) == Counter(row.label for row in rows_of_list)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda folder, out: pack(folder, out), "", "out: exists already; remove it or name another --out"),
        (lambda folder, out: out.touch(), "", "out: exists already; remove it"),
        (
            lambda folder, out: write_pictures(folder / "door_opens" / "x"),
            "",
            "x has no video's ending, by which it would be known",
        ),
        (lambda folder, out: None, "--max_gib 0.0", r"max_gib = 0\.0: must be above 0"),
    ],
)
def test_mistakes_are_named(
    folder: Path,
    tmp_path: Path,
    refusal: Refusal,
    change: Callable[[Path, Path], object],
    options: str,
    message: str,
) -> None:
    change(folder, tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    assert re.search(message, refusal("data", "shard", folder, "--out", tmp_path / "out", *options.split()))
    assert sorted(tmp_path.rglob("*")) == before
