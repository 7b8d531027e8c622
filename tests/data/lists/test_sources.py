"""Lists and class folders behind one setting, and the names of classes."""

from pathlib import Path

import pytest

from vitaclip.data.lists import sources
from vitaclip.data.lists.sources import choose_classes, find_videos, read_videos
from vitaclip.data.lists.video_list import VideoList


def read_folder(root: Path, class_names: list[str] | None = None, keep_absent: bool = False) -> VideoList:
    return sources.read_folder(root, class_names).checked(str(root), keep_absent=keep_absent)


def write_videos(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"video")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of class folders."""
    files = ("tai_chi/b.mp4", "tai_chi/a.MKV", "tai_chi/notes.txt", "tai_chi/.a.mp4", "archery/x.webm", "readme.md")
    write_videos(tmp_path / "videos", *files, ".cache/a.mp4")
    return tmp_path / "videos"


def test_folders_name_their_classes(folder: Path) -> None:
    videos = read_videos(str(folder), "data.train")
    assert videos.class_names == ("archery", "tai chi")
    found = [(str(Path(str(sample.path)).relative_to(folder)), sample.label) for sample in videos.samples]
    assert found == [("archery/x.webm", 0), ("tai_chi/a.MKV", 1), ("tai_chi/b.mp4", 1)]


def test_class_folders_are_read_at_any_depth(folder: Path, tmp_path: Path) -> None:
    write_videos(folder, "tai_chi/2021/june/c.mp4", "archery/.hidden/a.mp4", "archery/clip 1/img_1.jpg", "loose.mp4")
    (folder / "archery" / "gone.mp4").symlink_to(tmp_path / "nothing.mp4")
    (folder / "tai_chi" / "up").symlink_to(folder)  # a way back to where we are
    with pytest.raises(
        ValueError, match=r"1 problem found\n.*gone\.mp4 is a link to .*nothing\.mp4, which is not there"
    ):
        read_folder(folder)
    videos = read_folder(folder, keep_absent=True)
    assert [str(Path(str(sample.path)).relative_to(folder)) for sample in videos.samples] == [
        *("archery/clip 1", "archery/gone.mp4", "archery/x.webm"),
        *("tai_chi/2021/june/c.mp4", "tai_chi/a.MKV", "tai_chi/b.mp4"),
    ]
    assert find_videos([folder]) == sorted([*(Path(str(each.path)) for each in videos.samples), folder / "loose.mp4"])
    assert videos.note.startswith("no class for 1 video beside the class folders, such as ")


@pytest.mark.parametrize(
    ("files", "names", "meant"),
    [
        (["train/a/1.mp4", "val/a/2.mp4"], None, "train"),
        (["all/a/1.mp4", "all/b/1.mp4"], None, "all"),
        (["x/a/1.mp4", "y/b/1.mp4"], ["a", "b"], "x"),
        (["data/train/a/day/1.mp4", "data/train/b/1.mp4", "data/val/b/2.mp4"], None, "data/train"),
        (["data/v1/train/a/1.mp4", "data/v1/train/b/1.mp4"], ["a", "c"], "data/v1/train"),
    ],
)
def test_wrong_level_of_folders_is_said(tmp_path: Path, files: list[str], names: list[str] | None, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"holds folders of folders; did you mean {tmp_path}/{meant}\?"):
        read_folder(write_videos(tmp_path, *files), names)


def test_doubtful_lists_are_summed_up(folder: Path) -> None:
    videos = read_folder(folder, ["tai chi", "yoga", "archery"])
    assert videos.summary() == "3 videos of 3 classes, fewest 0 ('yoga'), most 2 ('tai chi')"
    assert videos.warnings() == [
        "1 of 3 classes have no video: 'yoga'",
        "1 of 3 classes have a single video: 'archery'",
    ]
    (folder / "archery").rename(folder.parent / "archery")
    assert read_folder(folder).warnings() == ["there is a single class, 'tai chi', so there is nothing to tell apart"]


def test_given_names_order_a_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("tai chi\nyoga\narchery\n", "utf-8")
    videos = read_videos(str(folder), "data.train", classes=str(tmp_path / "names.txt"))
    assert videos.class_names == ("tai chi", "yoga", "archery")
    assert [sample.label for sample in videos.samples] == [2, 0, 0]
    assert [sample.label for sample in read_folder(folder, ["tai_chi", "archery"]).samples] == [1, 0, 0]


def test_accents_in_class_folders_have_either_form(tmp_path: Path) -> None:
    write_videos(tmp_path, "cafe\u0301_cre\u0300me/a.mp4")
    assert [sample.label for sample in read_folder(tmp_path, ["tea", "caf\u00e9 cr\u00e8me"]).samples] == [1]


def test_problems_of_a_folder_are_told_at_once(folder: Path) -> None:
    (folder / "yoga").mkdir()
    (folder / "archery" / "y.mp4").touch()
    with pytest.raises(ValueError, match="2 problems") as caught:
        read_folder(folder)
    assert "yoga: holds no video; add some or remove the folder" in str(caught.value)
    assert "y.mp4 is empty (0 bytes)" in str(caught.value)
    (folder / "yoga").rmdir()
    assert len(read_folder(folder, keep_absent=True).samples) == 4


def test_folders_without_their_own_class_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"tai_chi: no class is called 'tai chi' \(did you mean 'tai chis'"):
        read_folder(folder, ["tai chis", "archery"])
    write_videos(folder, "TaiChi/a.mp4")
    with pytest.raises(ValueError, match=r"tai_chi: is class 'tai chi' like .*TaiChi; move the videos into one"):
        read_folder(folder, ["archery", "tai chi"])
    (folder / "tai chi").mkdir()
    with pytest.raises(ValueError, match="'tai chi' reads the same as 'tai chi'"):
        read_folder(folder)
    with pytest.raises(ValueError, match=r"archery: holds videos and no class folders; .* did you mean .*/videos\?"):
        read_folder(folder / "archery")
    (folder / "nothing").mkdir()
    with pytest.raises(ValueError, match="holds no class folders"):
        read_folder(folder / "nothing")


def test_lists_join_known_names(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("tai_chi/b.mp4,TaiChi\n", "utf-8")
    videos = read_videos(str(tmp_path / "list.csv"), "data.val", root=str(folder), class_names=["archery", "tai chi"])
    assert [(sample.path, sample.label) for sample in videos.samples] == [(folder / "tai_chi" / "b.mp4", 1)]
    (tmp_path / "list.csv").write_text("tai_chi/b.mp4,1\n", "utf-8")
    with pytest.raises(ValueError, match=r"data\.val = .*list\.csv: its labels are numbers, which need class names"):
        read_videos(str(tmp_path / "list.csv"), "data.val", root=str(folder))
    with pytest.raises(ValueError, match=r"^data\.train = nowhere: does not exist; check the path$"):
        read_videos("nowhere", "data.train")
    with pytest.raises(ValueError, match=r"data\.train is not set"):
        read_videos("", "data.train")


def test_files_then_data_sets_then_names_are_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert choose_classes("hmdb51")[:2] == ("brush hair", "cartwheel")
    assert choose_classes("hmdb51, run") == ("hmdb51", "run")
    assert len(choose_classes(", ".join(f"class number {i}" for i in range(100)))) == 100
    (tmp_path / "hmdb51").write_text("run\nwalk\n", "utf-8")
    assert choose_classes("hmdb51") == ("run", "walk")
    (tmp_path / "hmdb51, run").write_text("sit\nstand\n", "utf-8")
    assert choose_classes("hmdb51, run") == ("sit", "stand")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("names.tx", r"classes = names\.tx: neither a file nor a data set of the catalogue; give a file"),
        ("Kinetics400", r"did you mean 'kinetics400'\?"),
        ("run, Run", "the same as"),
        ("run,, sit", "blank class name"),
    ],
)
def test_classes_that_are_nothing_are_refused(classes: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_classes(classes)


def test_whole_tar_file_is_named_as_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.tar: is a tar file; name its videos, such as .*/x\.tar::KEY\.mp4"):
        find_videos([tmp_path / "x.tar"])
