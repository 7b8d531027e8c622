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
from vitaclip.data.lists.list_file import read_list
from vitaclip.data.lists.sources import read_folder, read_shards, read_videos
from vitaclip.data.lists.video_list import VideoList, VideoSample
from vitaclip.data.tools.packing import Packing, ShardConfig

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
    list(Packing(read_folder(folder), out, SMALL).run())


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
    packed = list(Packing(videos, tmp_path / "out", SMALL).run())
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


def test_keys_tell_videos_apart(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "out")
    rows = read_shards(str(tmp_path / "out")).samples
    assert sorted(row.path.parts[-1] for row in rows) == [
        *("00000000_a.mp4", "00000001_b_x.mp4", "00000002_c d.mp4", "00000003_e.mp4", "00000004_é.mp4"),
        *("00000005_a.mp4", "00000006_b_x.mp4", "00000007_c d.mp4", "00000008_e.mp4", "00000009_é.mp4"),
    ]


def test_stopped_packing_resumes_to_same_bytes(folder: Path, tmp_path: Path) -> None:
    videos = read_folder(folder)
    list(Packing(videos, tmp_path / "whole", SMALL).run())
    out = tmp_path / "stopped"
    run = Packing(videos, out, SMALL).run()
    next(run)
    run.close()
    (out / ".shard-000001.tar.123.tmp").touch()  # as a process that was killed leaves it
    packing = Packing(videos, out, SMALL)
    assert len(packing.shards) - len(packing.waiting) == 1
    before = (out / "shard-000000.tar").stat().st_mtime_ns
    list(packing.run())
    assert (out / "shard-000000.tar").stat().st_mtime_ns == before
    assert hashes(out) == hashes(tmp_path / "whole")


def test_unreadable_video_leaves_no_partial_tar(folder: Path, tmp_path: Path) -> None:
    packing = Packing(read_folder(folder), tmp_path / "out", ShardConfig())
    (folder / "door_opens" / "e.mp4").unlink()
    with pytest.raises(FileNotFoundError):
        list(packing.run())
    assert not list((tmp_path / "out").glob("*tar*"))


def test_tar_files_are_packed_anew(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "first")
    videos = read_shards(str(tmp_path / "first"))
    again = Packing(videos, tmp_path / "again", ShardConfig())
    (only,) = again.run()
    assert len(again.shards[only]) == 10
    assert contents(tmp_path / "again") == contents(tmp_path / "first")
    names = {row.path.parts[-1] for row in read_shards(str(tmp_path / "again")).samples}
    assert {name[9:] for name in names} == {row.path.parts[-1] for row in videos.samples}


def test_command_packs_once(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [*sorted(folder.glob("door_closes/*")), *sorted(folder.glob("door_opens/*"))]
    lines = [f"{path.relative_to(folder)},{path.parent.name}\n" for path in paths]
    (tmp_path / "train.csv").write_text("".join(lines))
    (tmp_path / "names.txt").write_text("door opens\ndoor closes\n")
    out = str(tmp_path / "out")
    arguments = ["data", "shard", f"{tmp_path}/train.csv", "--root", str(folder), "--classes", f"{tmp_path}/names.txt"]
    for already in ("0", "1"):
        assert main([*arguments, "--out", out]) == 0
        printed = capsys.readouterr().out
        rows = dict(" ".join(line.split()).strip("│ ").split(" │ ") for line in printed.splitlines() if "│" in line)
        assert (rows["videos"], rows["tar files"], rows["there already"]) == ("10", "1", already)
    videos = read_videos(f"{out}/shard-{{000000..000000}}.tar", "data.train", classes=f"{out}/classes.txt")
    assert videos.class_names == ("door opens", "door closes")
    rows_of_list = read_list(tmp_path / "train.csv", folder, videos.class_names).samples
    assert Counter(row.label for row in videos.samples) == Counter(row.label for row in rows_of_list)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda folder, out: pack(folder, out), "--seed 1", 'not .*"seed": 1'),
        (lambda folder, out: pack(folder, out), "", "out: was made with .*; use these or name another folder"),
        (lambda folder, out: (out.mkdir(), (out / "x.txt").touch()), "", "out: holds other things; name a new folder"),
        (lambda folder, out: out.touch(), "", "out: is a file; name a new folder"),
        (lambda folder, out: write_pictures(folder / "door_opens" / "x"), "", "is a folder of pictures; make it"),
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


def test_other_videos_are_not_added(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "out")
    (folder / "door_opens" / "a.mp4").rename(folder / "door_closes" / "f.mp4")  # of another class now
    with pytest.raises(ValueError, match=r'out: was made with {.*"videos": "10 \(list \w+\)"}, not '):
        Packing(read_folder(folder), tmp_path / "out", SMALL)


def test_files_without_a_videos_ending_are_refused(tmp_path: Path) -> None:
    videos = VideoList((VideoSample(tmp_path / "a.data", (0,), "list.csv:1"),))
    with pytest.raises(ValueError, match=r"a\.data has no video's ending, by which it would be known; rename it"):
        Packing(videos, tmp_path / "out", SMALL)
