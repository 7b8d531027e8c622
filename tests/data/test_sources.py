"""Lists and folders behind one setting."""

from pathlib import Path

import pytest

from vitaclip.data import read_videos


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("tai_chi/a.mp4", "archery/b.mp4"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True)
        (tmp_path / "videos" / name).write_bytes(b"video")
    (tmp_path / "list.csv").write_text("tai_chi/a.mp4,tai chi\n", "utf-8")
    (tmp_path / "names.txt").write_text("tai chi\narchery\n", "utf-8")
    return tmp_path


def test_folder_names_its_classes(root: Path) -> None:
    videos = read_videos(str(root / "videos"), "data.train")
    assert videos.class_names == ("archery", "tai chi")
    assert [row.label for row in videos.rows] == [0, 1]


def test_class_file_orders_a_folder(root: Path) -> None:
    videos = read_videos(str(root / "videos"), "data.train", classes=str(root / "names.txt"))
    assert [row.label for row in videos.rows] == [1, 0]


def test_list_with_root_and_known_names(root: Path) -> None:
    videos = read_videos(
        str(root / "list.csv"), "data.val", root=str(root / "videos"), class_names=["archery", "tai chi"]
    )
    assert [(row.path, row.label) for row in videos.rows] == [(root / "videos" / "tai_chi" / "a.mp4", 1)]


def test_refusals_name_the_setting(root: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.train is not set"):
        read_videos("", "data.train")
    with pytest.raises(ValueError, match=r"data\.val = .*list\.csv: a list needs class names"):
        read_videos(str(root / "list.csv"), "data.val")
