"""Which tar files are meant, and that their videos are samples like any others."""

import re
from pathlib import Path

import pytest
import torch

from shard_files import tar_of, write_shard, write_shards
from video_files import SAMPLING, TRANSFORM
from vitaclip.data.lists.sources import list_text, names_shards, read_folder, read_shards, read_videos
from vitaclip.data.lists.video_list import VideoSample, read_list
from vitaclip.data.loading.clips import EvalViews, TrainClips
from vitaclip.data.loading.loader import EvalDataset, TrainDataset, eval_batches, train_batches
from vitaclip.data.tools import ScanConfig, find_targets, scan_videos, write_scan

NAMES = ("opening", "closing", "neither of both")


@pytest.fixture(scope="module")
def shards(video_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ten clips in three tar files, clip n with label n modulo 3."""
    folder = tmp_path_factory.mktemp("shards")
    write_shards(folder, sorted(video_folder.glob("*.mp4")))
    return folder


def as_files(video_folder: Path) -> list[VideoSample]:
    return [VideoSample(path, (n % 3,), str(path)) for n, path in enumerate(sorted(video_folder.glob("*.mp4")))]


def test_addresses_of_tar_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "folder" / "class").mkdir(parents=True)
    assert not any(map(names_shards, (str(tmp_path / "folder"), "list.csv", "none", "tar", "x.mp4")))
    tar_of(tmp_path / "folder" / "x.tar", {})
    assert not names_shards(str(tmp_path / "folder"))  # what the class folders were unpacked from
    (tmp_path / "folder" / "class").rmdir()
    assert all(map(names_shards, (str(tmp_path / "folder"), "x.tar", "x.TAR", "*.tar", "x.tar.gz")))


def test_tar_files_are_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b", "a", "c1", "c2"):
        tar_of(tmp_path / f"{name}.tar", {f"{name}.mp4": b"0", f"{name}.cls": b"0"})
    (tmp_path / "other.txt").touch()

    def found(source: str) -> list[str]:
        return [str(each.path).split("::")[0] for each in read_shards(source).samples]

    assert found(".") == ["a.tar", "b.tar", "c1.tar", "c2.tar"]
    assert found("c*.tar") == ["c1.tar", "c2.tar"]
    assert found(f"{tmp_path}/[ab]*.tar") == [f"{tmp_path}/a.tar", f"{tmp_path}/b.tar"]
    with pytest.raises(ValueError, match=r"\.tar: no tar file is there; check the path"):
        read_shards("d*.tar")


def test_batches_are_those_of_the_same_files(shards: Path, video_folder: Path, tmp_path: Path) -> None:
    """What sample i of step s is depends on the seed, s and i alone; also in worker processes, from any step on."""
    files = as_files(video_folder)
    samples = read_shards(f"{shards}/train-*.tar", NAMES).samples
    expected = list(train_batches(TrainDataset(files, TrainClips(SAMPLING, TRANSFORM), seed=3), 0, 5, 4))
    for first, workers, places in ((0, 0, None), (2, 2, None), (0, 1, range(1, 3))):
        data = TrainDataset(samples, TrainClips(SAMPLING, TRANSFORM), seed=3)
        batches = list(train_batches(data, first, 5, 4, workers, places))
        chosen = list(places or range(4))
        for batch, whole in zip(batches, expected[first:], strict=True):
            assert torch.equal(batch.video, whole.video[chosen])
            assert torch.equal(batch.labels, whole.labels[chosen])
    tested = list(eval_batches(EvalDataset(samples, EvalViews(SAMPLING, size=24)), 4))
    assert [sample for batch in tested for sample in batch.indices] == list(range(10))
    for made, right in zip(tested, eval_batches(EvalDataset(files, EvalViews(SAMPLING, size=24)), 4), strict=True):
        assert torch.equal(made.video, right.video)
        assert torch.equal(made.labels, right.labels)


def test_labels_are_numbers_or_names(tmp_path: Path) -> None:
    labels = {"cls": "2", "txt": "neither of both", "json": '{"label": "Neither_of_both"}'}
    for ending, label in labels.items():
        tar_of(tmp_path / f"{ending}.tar", {"a.mp4": b"0", f"a.{ending}": label.encode()})
    assert [sample.label for sample in read_shards(str(tmp_path), NAMES).samples] == [2, 2, 2]
    with pytest.raises(ValueError, match=r"txt\.tar::a\.mp4: label 'neither of both' is no class number"):
        read_shards(str(tmp_path / "txt.tar")).checked("txt.tar")
    with pytest.raises(
        ValueError,
        match=r"data\.val = .*cls\.tar: its labels are numbers, which need class names in data.classes; give",
    ):
        read_videos(str(tmp_path / "cls.tar"), "data.val")


def test_all_that_is_wrong_is_said_at_once(shards: Path, tmp_path: Path) -> None:
    whole = (shards / "train-000.tar").read_bytes()
    (tmp_path / "t-1.tar").write_bytes(whole[:5000])
    write_shard(tmp_path / "t-2.tar", [{"__key__": "a", "mp4": b"0", "cls": 3}, {"__key__": "b", "mp4": b"0"}])
    with pytest.raises(ValueError, match=r"t-\*\.tar: 3 problems found") as caught:
        read_videos(f"{tmp_path}/t-*.tar", "data.train", class_names=NAMES)
    found = [" ".join(line.removeprefix(f"{tmp_path}/").split()[:2]) for line in str(caught.value).splitlines()[1:]]
    assert found == ["t-1.tar: is", "t-2.tar::b.mp4: no", "t-2.tar::a.mp4: label"]


def test_scans_of_tar_files_give_a_list(shards: Path, tmp_path: Path) -> None:
    bad = {"__key__": "bad", "mp4": b"text", "cls": 1}
    write_shard(tmp_path / "t-1.tar", [bad, {"__key__": "unlabelled", "mp4": b"0"}])
    (tmp_path / "t-0.tar").write_bytes((shards / "train-000.tar").read_bytes())
    targets = find_targets(str(tmp_path), None, NAMES)
    found = [each for each in scan_videos(targets, ScanConfig(workers=2)) if each]
    assert "t-1.tar::unlabelled.mp4: no label" in found[0].problem
    assert [str(each.path) for each in found[1:]] == [f"{tmp_path}/t-1.tar::bad.mp4"]
    write_scan(targets, found, tmp_path / "scanned")
    clean = read_list(tmp_path / "scanned" / "clean.csv", class_names=NAMES).samples
    samples = read_shards(str(tmp_path / "t-0.tar"), NAMES).samples
    assert [(sample.path, sample.label) for sample in clean] == [(sample.path, sample.label) for sample in samples]


def test_lists_name_videos_in_tar_files(shards: Path, tmp_path: Path) -> None:
    samples = read_shards(str(shards), NAMES).samples[3:6]
    (tmp_path / "list.csv").write_text(list_text(samples))
    again = read_list(tmp_path / "list.csv").samples
    assert [(sample.path, sample.label, sample.source) for sample in again] == [
        (sample.path, sample.label, f"list.csv:{n}") for n, sample in enumerate(samples, 1)
    ]
    (tmp_path / "list.csv").write_text(
        "train-000.tar::0001_clip1.mp4 0\ntrain-000.tar::none.mp4 1\nnone.tar::a.mp4 1\n"
    )
    with pytest.raises(ValueError, match="2 problems found") as caught:
        read_list(tmp_path / "list.csv", root=shards).checked("list.csv")
    assert "list.csv:2: train-000.tar::none.mp4 is not there: the tar file holds no such video" in str(caught.value)
    assert f"list.csv:3: {shards}/none.tar: cannot be read (No such file or directory)" in str(caught.value)
    (tmp_path / "list.csv").write_text("train-000.tar::0001_clip1.mp4 0\n./train-000.tar::0001_clip1.mp4 0\n")
    with pytest.raises(ValueError, match=r"is listed already at list\.csv:1; remove one of the two"):
        read_list(tmp_path / "list.csv", root=shards).checked("list.csv")


def test_documented_lines_pack_a_folder(video_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, video in enumerate(sorted(video_folder.glob("*.mp4"))):
        copy = Path("my_videos", ("opening", "closing")[number % 2], video.name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(video.read_bytes())
    Path("shards").mkdir()
    page = Path(__file__).parents[3] / "docs" / "datasets.md"
    (code,) = re.findall(r"```python\n(.*?ShardWriter.*?)```", page.read_text("utf-8"), re.DOTALL)
    exec(code, {})
    names = ("closing", "opening")
    packed, files = read_videos("shards", "data.train", class_names=names), read_folder("my_videos")
    contents = [{(each.path.open("rb").read(), each.label) for each in videos.samples} for videos in (packed, files)]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 10
