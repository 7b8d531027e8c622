"""Lists and folders behind one setting."""

from pathlib import Path

import pytest

from vitaclip.data import choose_classes, read_videos


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
    assert [row.label for row in videos.samples] == [0, 1]


def test_class_file_orders_a_folder(root: Path) -> None:
    videos = read_videos(str(root / "videos"), "data.train", classes=str(root / "names.txt"))
    assert [row.label for row in videos.samples] == [1, 0]


def test_list_with_root_and_known_names(root: Path) -> None:
    videos = read_videos(
        str(root / "list.csv"), "data.val", root=str(root / "videos"), class_names=["archery", "tai chi"]
    )
    assert [(row.path, row.label) for row in videos.samples] == [(root / "videos" / "tai_chi" / "a.mp4", 1)]


def write_videos(root: Path, *folders: str) -> None:
    for folder in folders:
        (root / folder).mkdir(parents=True)
        (root / folder / "a.avi").write_bytes(b"video")


def test_folders_of_ucf101_join_its_wording(tmp_path: Path) -> None:
    write_videos(tmp_path, "ApplyEyeMakeup", "HammerThrow", "Hammering", "YoYo")
    videos = read_videos(str(tmp_path), "data.train", classes="ucf101")
    assert len(videos.class_names) == 101
    assert [videos.class_names[row.label] for row in videos.samples] == [
        *("apply eye makeup", "hammer throw", "hammering", "yo yo")
    ]
    # Validation, and the evaluation of a trained model, know only the wording.
    again = read_videos(str(tmp_path), "data.val", class_names=videos.class_names)
    assert again.samples == videos.samples


def test_labels_of_a_list_join_by_name_in_any_spelling(tmp_path: Path) -> None:
    write_videos(tmp_path, "v")
    (tmp_path / "list.csv").write_text("v/a.avi kick_ball\n", "utf-8")
    (row,) = read_videos(str(tmp_path / "list.csv"), "data.val", classes="hmdb51").samples
    assert row.label == 21


def test_two_folders_of_one_class_are_refused(tmp_path: Path) -> None:
    write_videos(tmp_path, "TaiChi", "tai_chi", "archery")
    with pytest.raises(ValueError, match=r"tai_chi: is class 'tai chi' like .*TaiChi; move the videos into one"):
        read_videos(str(tmp_path), "data.train", class_names=["archery", "tai chi"])


def test_classes_are_a_file_then_a_data_set_then_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert choose_classes("hmdb51")[:2] == ("brush hair", "cartwheel")
    assert choose_classes("hmdb51, run") == ("hmdb51", "run")
    long = ", ".join(f"class number {i}" for i in range(100))
    assert len(choose_classes(long)) == 100
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


def test_refusals_name_the_setting(root: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.train is not set"):
        read_videos("", "data.train")
    with pytest.raises(ValueError, match=r"data\.val = .*list\.csv: a list needs class names"):
        read_videos(str(root / "list.csv"), "data.val")
