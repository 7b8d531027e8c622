"""Lists of videos in files, good and bad."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vitaclip.data.lists import video_list
from vitaclip.data.lists.video_list import VideoList, VideoSample

NAMES = ["guitar", "playing guitar", "swimming, indoors", "tai chi"]
WriteList = Callable[..., Path]


def read_list(
    file: Path, root: Path | None = None, class_names: list[str] | None = None, keep_absent: bool = False
) -> VideoList:
    return video_list.read_list(file, root, class_names).checked(str(file), keep_absent=keep_absent)


@pytest.fixture
def write_list(tmp_path: Path) -> WriteList:
    """Writes list.csv, and a file for each of `videos` (they need only be there for a list to be right)."""

    def write(text: str, *videos: str, encoding: str = "utf-8") -> Path:
        for video in videos:
            (tmp_path / video).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / video).write_bytes(b"video")
        (tmp_path / "list.csv").write_bytes(text.encode(encoding))
        return tmp_path / "list.csv"

    return write


def relative(samples: tuple[VideoSample, ...], root: Path) -> list[tuple[str, int]]:
    return [(str(Path(str(sample.path)).relative_to(root)), sample.label) for sample in samples]


@pytest.mark.parametrize(
    ("line", "path", "label"),
    [
        ("a.mp4,3", "a.mp4", 3),
        ("a.mp4\t3", "a.mp4", 3),
        ("  a.mp4 , 3  ", "a.mp4", 3),
        ("sub/größe 日本 b.mp4 0", "sub/größe 日本 b.mp4", 0),
        ('"my clip, part 2.mp4",1', "my clip, part 2.mp4", 1),
        ('"a ""b"".mp4",1', 'a "b".mp4', 1),
        ("a b.mp4,playing guitar", "a b.mp4", 1),
        ("a b.mp4\tplaying guitar", "a b.mp4", 1),
        ('"a,b.mp4","swimming, indoors"', "a,b.mp4", 2),
        ('"a,b.mp4", tai chi', "a,b.mp4", 3),
        ("a.mp4 TaiChi", "a.mp4", 3),
        ("Playing Guitar.mp4 Guitar", "Playing Guitar.mp4", 0),
    ],
)
def test_lines_hold_a_path_and_a_label(write_list: WriteList, line: str, path: str, label: int) -> None:
    file = write_list(line + "\n", path)
    assert relative(read_list(file, class_names=NAMES).samples, file.parent) == [(path, label)]
    if line.strip('" ')[-1].isdecimal():
        numbered = read_list(file)
        assert relative(numbered.samples, file.parent) == [(path, label)]
        assert numbered.class_names == ()


def test_fault_16_blank_line_and_comma_in_path(write_list: WriteList) -> None:
    text = '\ufeffpath,label\r\n\r\n# the first half\r\n"a, b.mp4",0\r\n   \r\nc d.mp4,1\r\n\r\n'
    for end in ("\r\n", "\n", "\r"):
        file = write_list(text.replace("\r\n", end), "a, b.mp4", "c d.mp4")
        samples = read_list(file).samples
        assert relative(samples, file.parent) == [("a, b.mp4", 0), ("c d.mp4", 1)]
        assert [sample.source for sample in samples] == ["list.csv:4", "list.csv:6"]


@pytest.mark.parametrize(
    "text",
    [
        'video_path,class\n"a, b.mp4",2\n',
        'label,split,path\n2,train,"a, b.mp4"\n',
        'filename;duration;class_name\na, b.mp4;3.5;"swimming, indoors"\n',
        "id\tvideo\tlabel\n7\ta, b.mp4\t2\n",
        "path label\na, b.mp4 2\n",
        '"path","label"\n"a, b.mp4","2"\n',
        '# mine\n{"path": "a, b.mp4", "label": 2}\n',
        '{"label": "swimming, indoors", "fps": 25, "Video": "a, b.mp4"}\n\n',
    ],
)
def test_headings_and_json_lines_name_columns(write_list: WriteList, text: str) -> None:
    file = write_list(text, "a, b.mp4")
    assert relative(read_list(file, class_names=NAMES).samples, file.parent) == [("a, b.mp4", 2)]


@pytest.mark.parametrize(
    "text",
    [
        "a b.mp4,0|3\n",
        "a b.mp4 3|0\n",
        'a b.mp4,"0 | 3"\n',
        "split,label,path\ntrain,0|3,a b.mp4\n",
        "a b.mp4,3\na b.mp4,0\n",
        '{"path": "a b.mp4", "labels": [3, 0]}\n',
        "a b.mp4 TaiChi|0\n",
        "a b.mp4,tai chi\n./a b.mp4,guitar\n",
        '{"path": "a b.mp4", "label": ["guitar", 3]}\n',
    ],
)
def test_videos_may_have_several_labels(write_list: WriteList, text: str) -> None:
    for names in (NAMES,) if "chi" in text.lower() or "guitar" in text.lower() else (NAMES, None):
        (sample,) = read_list(write_list(text, "a b.mp4"), class_names=names).samples
        assert sample.labels == (0, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4,0;3\n", "write | between several"),
        ('path,split,label\na.mp4,train,"0,3"\n', "write | between several"),
        ("a.mp4,0,3\n", "list.csv:1: 'a.mp4,0,3' has 3 columns, not 2; quote what holds the separator"),
        ("a, b.mp4,3\n", "has 3 columns, not 2; quote what holds the separator, or begin the list with a heading"),
    ],
)
def test_other_signs_between_labels_are_refused(write_list: WriteList, text: str, message: str) -> None:
    with pytest.raises(ValueError, match="1 problem found") as caught:
        read_list(write_list(text, "a.mp4"), class_names=NAMES)
    assert message in str(caught.value)


def test_names_with_the_sign_between_labels_are_found(write_list: WriteList) -> None:
    file = write_list("a.mp4,left|right\nb.mp4,up|left|right\n", "a.mp4", "b.mp4")
    with pytest.raises(ValueError, match="no class is called 'left'"):
        read_list(file, class_names=["left|right", "up"])
    (sample,) = read_list(write_list("a.mp4,left|right\n", "a.mp4"), class_names=["up", "left|right"]).samples
    assert sample.labels == (1,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no video; write one line"),
        ("path,label\n", "lists no video; write one line"),
        ('{"path": "a.mp4", "label": 0}\n{"path": "a.m', r"list\.csv:2: is no JSON"),
        ('{"path": "a.mp4"}', r"list\.csv:1: has no path or no label"),
        ('{"path": "a.mp4", "label": true}', "label True must be a number or a name"),
        ("path,split,label\na.mp4,0\n", r"list\.csv:2: 'a.mp4,0' has 2 columns, not 3"),
        ("path,split,label\na.mp4,train,\n", r"list\.csv:2: .* has no path or no label"),
        ("path,split,label\na.mp4,train," + "x" * 200_000, r"list\.csv:2: field larger"),
        ('{"path": ' + "[" * 100_000, "is no JSON that can be read"),
        ("a.mp4,guitar\na.mp4,1\n", r"list\.csv:1: label 'guitar' is no class number; .* give the class names"),
        ("sub\\a.mp4,0\n", "has backslashes, as Windows writes paths; write /"),
        ("a\0.mp4,0", "cannot be read"),
        ("a.mp4,0\nsub/../a.mp4,0\n", r"list\.csv:2: .*listed already at list\.csv:1; remove one"),
    ],
)
def test_lists_that_cannot_be_read(write_list: WriteList, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_list(write_list(text, "a.mp4"))


def test_unreadable_files_are_refused(write_list: WriteList, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.csv: cannot be read \(No such file"):
        read_list(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_list(write_list("größe.mp4,0", encoding="latin-1"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_spreadsheets_save_is_read(write_list: WriteList, encoding: str) -> None:
    file = write_list("Path\tLabel\r\ngröße.mp4\t1\r\n", "größe.mp4", encoding=encoding)
    assert relative(read_list(file).samples, file.parent) == [("größe.mp4", 1)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.mp4,4", "label 4 is out of range; classes are numbered from 0, here to 3"),
        ("a.mp4,-1", "label -1 is out of range; classes are numbered from 0"),
        ("a.mp4,gitar", "no class is called 'gitar' (did you mean 'guitar'?)"),
        ("a.mp4,1.0", "no class is called '1.0'"),
        ("a.mp4,playing the gitar", "no class is called 'playing the gitar'"),
        ("a.mp4", "'a.mp4' has 1 column, not 2"),
        ("a.mp4,", "'a.mp4,' has no path or no label; write 'path,label'"),
        ("none.mp4,0", "cannot be read (No such file or directory); check the path and the root"),
        ("empty.mp4,0", "is empty (0 bytes); copy it again"),
        ("folder,0", "is a folder; name a video file, or a folder of numbered pictures"),
    ],
)
def test_fault_16_every_line_is_checked_before_training(
    write_list: WriteList, tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    file = write_list(f"good.mp4,0\n\n{line}\n", "good.mp4", "a.mp4")
    with pytest.raises(ValueError, match="1 problem") as caught:
        read_list(file, class_names=NAMES)
    heading, problem = str(caught.value).split("\n")
    assert heading == f"{file}: 1 problem found"
    assert problem.startswith("list.csv:3: ")
    assert message in problem


def test_all_problems_are_counted_and_ten_shown(write_list: WriteList) -> None:
    file = write_list("".join(f"none{number}.mp4,0\n" for number in range(25)))
    with pytest.raises(ValueError, match="25 problems found") as caught:
        read_list(file)
    lines = str(caught.value).split("\n")
    assert len(lines) == 12
    assert lines[10].startswith("list.csv:10: ")
    assert lines[11] == "... and 15 more"


@pytest.mark.parametrize(
    ("labels", "noted"), [("1 2", True), ("2 1", True), ("0 1", False), ("2 2", False), ("run run", False)]
)
def test_labels_from_one_are_noted(write_list: WriteList, labels: str, noted: bool) -> None:
    lines = "".join(f"{n}.mp4,{label}\n" for n, label in enumerate(labels.split()))
    note = read_list(write_list(lines, "0.mp4", "1.mp4"), class_names=["sit", "walk", "run"]).note
    assert ("label 0 never occurs" in note) == noted


def test_labels_from_one_explain_the_last_class(write_list: WriteList) -> None:
    file = write_list("a.mp4,1\nb.mp4,2\n", "a.mp4", "b.mp4")
    with pytest.raises(ValueError, match=r"out of range; .*\nlabel 0 never occurs: labels count from 0"):
        read_list(file, class_names=["sit", "walk"])


def test_numbers_that_name_another_class_are_refused(write_list: WriteList) -> None:
    file = write_list("a.mp4,1", "a.mp4")
    assert read_list(file, class_names=["0", "1"]).samples[0].label == 1
    with pytest.raises(ValueError, match="class number 1 or the name of class 0"):
        read_list(file, class_names=["1", "2"])


def test_frame_folders_in_lists(write_list: WriteList) -> None:
    file = write_list("clip 1 0\nclip 2 16 1\n", "clip 1/img_00001.jpg", "clip 2 16/img_00001.jpg")
    assert relative(read_list(file).samples, file.parent) == [("clip 1", 0), ("clip 2 16", 1)]


@pytest.mark.parametrize(
    "text",
    [
        "a.mp4,tai chi\nb.mp4,guitar|tai chi\n",
        '{"path": "a.mp4", "label": "tai chi"}\n{"path": "b.mp4", "label": ["guitar", "tai chi"]}\n',
    ],
)
def test_labels_name_the_classes_if_nobody_does(write_list: WriteList, text: str) -> None:
    videos = read_list(write_list(text, "a.mp4", "b.mp4"))
    assert videos.class_names == ("guitar", "tai chi")
    assert [sample.labels for sample in videos.samples] == [(1,), (0, 1)]


def test_paths_are_absolute_or_below_the_root(write_list: WriteList, tmp_path: Path) -> None:
    absolute = tmp_path / "elsewhere" / "b.mp4"
    file = write_list(f"a.mp4,0\n{absolute},1\n", "videos/a.mp4", "elsewhere/b.mp4")
    samples = read_list(file, root=tmp_path / "videos").samples
    assert [sample.path for sample in samples] == [tmp_path / "videos" / "a.mp4", absolute]


def test_missing_files_may_stay_for_an_evaluation(write_list: WriteList, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    lines = "gone.mp4,0\na.mp4,1\nempty.mp4,0\n"
    samples = read_list(write_list(lines, "a.mp4"), keep_absent=True).samples
    assert [sample.path.name for sample in samples] == ["gone.mp4", "a.mp4", "empty.mp4"]
    with pytest.raises(ValueError, match=r"1 problem found\n.*gone.mp4 is listed already at list\.csv:1"):
        read_list(write_list(lines + "gone.mp4,0\n"), keep_absent=True)
    with pytest.raises(ValueError, match="2 problems found"):  # nothing would be left
        read_list(write_list("gone.mp4,0\nempty.mp4,0\n"), keep_absent=True)
