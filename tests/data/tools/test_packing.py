"""Packing: webdataset and our own reader find the videos of the list, bytes and labels the same."""

import hashlib
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import webdataset

from vitaclip.cli import main
from vitaclip.data.lists.class_names import read_class_names
from vitaclip.data.lists.list_file import read_list
from vitaclip.data.lists.sources import read_folder, read_shards, read_videos
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
    list(Packing(read_folder(folder), tmp_path / "out", SMALL).run())
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
    list(Packing(read_folder(folder), tmp_path / "first", SMALL).run())
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
    ("change", "message"),
    [
        ("other seed", r'out: was made with {"max_gib": 1.0, "seed": 0, "videos": "10 \(list \w+\)"}, not .*"seed": 1'),
        ("other label", r"out: was made with .*; use these or name another folder"),
        ("other things", r"out: holds other things; name a new folder"),
        ("file", r"out: is a file; name a new folder"),
        ("pictures", r"is a folder of pictures; make it a video file, or remove the line"),
        ("ending", r"a\.data has no video's ending, by which it would be known; rename it"),
        ("size", r"max_gib = 0\.0: must be above 0"),
    ],
)
def test_mistakes_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    source, out, options = str(folder), tmp_path / "out", []
    if change.startswith("other ") and change != "other things":
        assert main(["data", "shard", source, "--out", str(out)]) == 0
    if change == "other seed":
        options = ["--seed", "1"]
    elif change == "other label":
        (folder / "door_opens" / "a.mp4").rename(folder / "door_closes" / "f.mp4")
    elif change == "other things":
        out.mkdir()
        (out / "x.txt").touch()
    elif change == "file":
        out.touch()
    elif change == "pictures":
        (folder / "door_opens" / "frames").mkdir()
        (folder / "door_opens" / "frames" / "img_1.jpg").touch()
    elif change == "ending":
        (folder / "door_opens" / "a.mp4").rename(folder / "a.data")
        (tmp_path / "list.csv").write_text(f"{folder}/a.data,0\n")
        source = str(tmp_path / "list.csv")
    elif change == "size":
        options = ["--max_gib", "0.0"]
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert main(["data", "shard", source, "--out", str(out), *options]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert sorted(tmp_path.rglob("*")) == before
