"""A small fake of every data set's real layout, prepared and read back."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from small_world import Refusal
from vitaclip.catalog import load_dataset_classes
from vitaclip.cli import main
from vitaclip.data.lists.sources import choose_classes, read_class_names
from vitaclip.data.lists.video_list import read_list
from vitaclip.data.prepare import prepare_dataset, write_preparation

HEADER = "label,youtube_id,time_start,time_end,split"


def put(folder: Path, *names: str, text: str = "") -> Path:
    """Files with a content each of its own, unless it is given."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text or name, "utf-8")
    return folder


def annotate(folder: Path, name: str, *lines: str) -> Path:
    put(folder, name, text="\n".join(lines) + "\n")
    return folder


def prepared(dataset: str, root: Path, annotations: Path, list_name: str, out: Path) -> dict[str, str]:
    """{file below the root: class} of a list that was written, as the training would read it."""
    write_preparation(prepare_dataset(dataset, root, annotations), out)
    names = choose_classes(dataset)
    assert read_class_names(out / "classes.txt") == names
    samples = read_list(out / f"{list_name}.csv", class_names=names).samples
    return {str(Path(str(sample.path)).relative_to(root.absolute())): names[sample.label] for sample in samples}


def lines(file: Path) -> list[list[str]]:
    return [line.split("\t") for line in file.read_text("utf-8").splitlines()]


@pytest.fixture
def kinetics(tmp_path: Path) -> tuple[Path, Path]:
    """Every habit at once: folders with blanks or underscores, flat files, no times, all endings, gaps, copies."""
    root = put(
        tmp_path / "videos",
        "train/riding a bike/aaaaaaaaaaa_000010_000020.mp4",  # blanks
        "train/playing_guitar/bbb_bbbbb-b_000000_000010.mkv",  # underscores, and in the id
        "val/abseiling/ccccccccccc.webm",  # without times
        "ddddddddddd_000005_000015.avi",  # flat
        "val/abseiling/eeeeeeeeeee_000001_000011.mp4",
        "copies/eeeeeeeeeee_000001_000011.MP4",  # there twice
        "val/playing_guitar/fffffffffff_000000_000010.mp4",  # in the folder of another class
        "val/abseiling/ggggggggggg_000090_000100.mp4",  # other times
        "val/abseiling/hhhhhhhhhhh_000000_000010.mp4.part",  # broke off
        "train/abseiling/jjjjjjjjjjj.mp4",  # one of two clips of this video
        "train/abseiling/not_annotated.mp4",
        "train/abseiling/notes.txt",
    )
    (root / "val" / "abseiling" / "kkkkkkkkkkk_000000_000010.mp4").touch()  # empty
    annotations = tmp_path / "annotations"
    annotate(
        annotations,
        "train.csv",
        HEADER + ",is_cc",
        "riding a bike,aaaaaaaaaaa,10,20,train,0",
        '"playing guitar",bbb_bbbbb-b,0,10,train,0',
        "abseiling,jjjjjjjjjjj,3,13,train,0",
        "abseiling,jjjjjjjjjjj,40,50,train,0",
        "abseiling,iiiiiiiiiii,40,50,train,0",
        "playing guitar,bbb_bbbbb-b,0,10,train,0",
    )
    annotate(
        annotations,
        "validate.csv",
        HEADER,
        "abseiling,ccccccccccc,7,17,validate",
        "abseiling,ddddddddddd,5,15,validate",
        "abseiling,eeeeeeeeeee,1,11,validate",
        "abseiling,fffffffffff,0,10,validate",
        "abseiling,ggggggggggg,0,10,validate",
        "abseiling,hhhhhhhhhhh,0,10,validate",
        "abseiling,kkkkkkkkkkk,0,10,validate",
        "riding a bike,aaaaaaaaaaa,70,80,validate",
    )
    annotate(annotations, "test.csv", "youtube_id,time_start,time_end,split", "lllllllllll,0,10,test")
    annotate(annotations, "readme.csv", "a,b", "1,2")
    return root, annotations


def test_kinetics_finds_every_habit(kinetics: tuple[Path, Path], tmp_path: Path) -> None:
    root, annotations = kinetics
    train = prepared("kinetics400", root, annotations, "train", tmp_path / "out")
    assert train == {
        "train/riding a bike/aaaaaaaaaaa_000010_000020.mp4": "riding a bike",
        "train/playing_guitar/bbb_bbbbb-b_000000_000010.mkv": "playing guitar",
    }
    names = choose_classes("kinetics400")
    val = read_list(tmp_path / "out" / "val.csv", class_names=names).samples
    assert [(sample.path.name, names[sample.label]) for sample in val] == [
        ("ccccccccccc.webm", "abseiling"),
        ("ddddddddddd_000005_000015.avi", "abseiling"),
        ("eeeeeeeeeee_000001_000011.mp4", "abseiling"),
    ]
    assert val[2].path.parts[-2] == "abseiling"  # rather than the copy elsewhere
    assert not (tmp_path / "out" / "test.csv").exists()


def test_kinetics_says_what_is_missing_and_why(kinetics: tuple[Path, Path], tmp_path: Path) -> None:
    prepared("kinetics400", *kinetics, "train", tmp_path / "out")
    reasons = {(row[0], row[2]): row[3].split(":")[0] for row in lines(tmp_path / "out" / "missing.txt")}
    unfit = "of other times, of another class or ambiguous"
    assert reasons == {
        ("train", "jjjjjjjjjjj_000003_000013"): unfit,
        ("train", "jjjjjjjjjjj_000040_000050"): unfit,
        ("train", "iiiiiiiiiii_000040_000050"): "not found",
        ("val", "fffffffffff_000000_000010"): unfit,
        ("val", "ggggggggggg_000000_000010"): unfit,
        ("val", "hhhhhhhhhhh_000000_000010"): "not found",
        ("val", "kkkkkkkkkkk_000000_000010"): "not found",
        ("val", "aaaaaaaaaaa_000070_000080"): unfit,
    }


def test_command_counts_what_was_found(
    kinetics: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, annotations = map(str, kinetics)
    places = ["--root", root, "--annotations", annotations, "--out", str(tmp_path / "out")]
    assert main(["data", "prepare", "kinetics400", *places]) == 0
    printed = [" ".join(line.replace("│", " ").split()) for line in capsys.readouterr().out.splitlines()]
    # A clip that stands twice in annotation files, alike, is one line of them.
    assert {"train 2 3", "val 3 5", "test.csv: passed over, it has no column label"} < {*printed}


def test_untimed_file_matches_by_class_folder(tmp_path: Path) -> None:
    root = put(tmp_path / "videos", "abseiling/aaaaaaaaaaa.mp4", "archery/bbbbbbbbbbb.mp4")
    source = annotate(tmp_path, "k.csv", HEADER, "abseiling,aaaaaaaaaaa,0,10,train", "archery,aaaaaaaaaaa,20,30,train")
    found = prepared("kinetics600", root, source / "k.csv", "train", tmp_path / "out")
    assert found == {"abseiling/aaaaaaaaaaa.mp4": "abseiling"}


def test_one_clip_in_two_classes_is_taken_once(tmp_path: Path) -> None:
    root = put(tmp_path / "videos", "aaaaaaaaaaa_000000_000010.mp4")
    annotate(tmp_path, "k.csv", HEADER, "abseiling,aaaaaaaaaaa,0,10,train", "archery,aaaaaaaaaaa,0,10,train")
    found = prepared("kinetics700", root, tmp_path / "k.csv", "train", tmp_path / "out")
    assert found == {"aaaaaaaaaaa_000000_000010.mp4": "abseiling"}


UCF = ("ApplyEyeMakeup", "HammerThrow", "Hammering", "HandstandPushups")


def ucf_annotations(folder: Path, clips: Iterable[str]) -> Path:
    classes = load_dataset_classes("ucf101").names
    annotate(folder, "classInd.txt", *(f"{number} {name}" for number, name in enumerate(classes, start=1)))
    for split in (1, 2, 3):
        of_part = {
            "train": [c for c in clips if f"g0{split}" not in c],
            "test": [c for c in clips if f"g0{split}" in c],
        }
        numbered = [f"{clip} {classes.index(clip.split('/')[0]) + 1}" for clip in of_part["train"]]
        annotate(folder, f"trainlist0{split}.txt", *numbered)
        annotate(folder, f"testlist0{split}.txt", *of_part["test"])
    return folder


@pytest.mark.parametrize("layout", ["class folders", "flat"])
def test_ucf101(tmp_path: Path, layout: str) -> None:
    clips = [f"{name}/v_{name}_g0{group}_c01.avi" for name in UCF for group in (1, 2, 3)]
    # The files of this class spell it otherwise than its folder.
    files = [clip.replace("v_HandstandPushups", "v_HandStandPushups") for clip in clips]
    root = put(tmp_path / "UCF-101", *(file if layout == "class folders" else file.split("/")[1] for file in files))
    annotations = ucf_annotations(tmp_path / "ucfTrainTestlist", clips)
    found = prepared("ucf101", root, annotations, "test2", tmp_path / "out")
    wording = ("apply eye makeup", "hammer throw", "hammering", "handstand pushups")
    assert sorted(found.values()) == list(wording)
    assert all("g02" in path for path in found)
    preparation = prepare_dataset("ucf101", root, annotations)
    parts = {f"{part}{split}": n for split in (1, 2, 3) for part, n in (("train", 8), ("test", 4))}
    assert preparation.counts() == {name: (n, 0) for name, n in parts.items()}


def test_hmdb51(tmp_path: Path) -> None:
    odd = "!#()[];&+~@-"
    use = {
        "kick": {"a_kick_1.avi": "1 2 0", f"b{odd}_kick_2.avi": "2 1 1"},
        "kick_ball": {"a_kick_ball_1.avi": "2 0 1", "same.avi": "1 1 2"},
        "sword": {"same.avi": "1 1 1"},  # another clip by the same name
    }
    root, annotations = tmp_path / "hmdb51", tmp_path / "annotations"
    for name, files in use.items():
        put(root, *(f"{name}/{file}" for file in files))
        for split in (1, 2, 3):
            text = [f"{file} {uses.split()[split - 1]} " for file, uses in files.items()]
            annotate(annotations, f"testTrainMulti_7030_splits/{name}_test_split{split}.txt", *text)
    found = prepared("hmdb51", root, annotations, "test1", tmp_path / "out")
    assert found == {f"kick/b{odd}_kick_2.avi": "kick", "kick_ball/a_kick_ball_1.avi": "kick ball"}
    train = read_list(tmp_path / "out" / "train1.csv", class_names=choose_classes("hmdb51")).samples
    trained = {str(Path(str(sample.path)).relative_to(root)) for sample in train}
    assert trained == {"kick/a_kick_1.avi", "kick_ball/same.avi", "sword/same.avi"}
    inside = prepare_dataset("hmdb51", root, annotations / "testTrainMulti_7030_splits")
    assert inside.counts()["train1"] == (3, 0)


@pytest.mark.parametrize("prefix", ["", "something-something-v2-"])
def test_ssv2(tmp_path: Path, prefix: str) -> None:
    templates = (
        "Pretending to put [something] on a surface",
        "Putting [something], [something] and [something] on the table",
    )
    labels, root = tmp_path / "labels", put(tmp_path / "20bn", "1.webm", "2.webm", "sub/3.mp4")
    put(labels, f"{prefix}labels.json", text=json.dumps({t.replace("[", "").replace("]", ""): "7" for t in templates}))
    entries = [{"id": str(n), "label": "x", "template": templates[n % 2], "placeholders": ["x"]} for n in (1, 2, 3, 4)]
    put(labels, f"{prefix}train.json", text=json.dumps(entries[:2]))
    put(labels, f"{prefix}validation.json", text=json.dumps(entries[2:]))
    put(labels, f"{prefix}test.json", text=json.dumps([{"id": "9"}]))
    found = prepared("ssv2", root, labels, "train", tmp_path / "out")
    assert found == {
        "1.webm": "Putting something, something and something on the table",
        "2.webm": "Pretending to put something on a surface",
    }
    val = read_list(tmp_path / "out" / "val.csv", class_names=choose_classes("ssv2")).samples
    assert [sample.path.name for sample in val] == ["3.mp4"]
    assert [row[2] for row in lines(tmp_path / "out" / "missing.txt")] == ["4"]


GOOD = "abseiling,aaaaaaaaaaa,0,10,train"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("archery,bbbbbbb", "k.csv:3: the line breaks off or its split"),
        ("swimmming,bbbbbbbbbbb,0,10,train", "k.csv:3: 'swimmming' is no class of kinetics400; are these its annotat"),
        ("archery,bbbbbbbbbbb,0,10,traim", "k.csv:3: the line breaks off or its split 'traim' is unknown"),
        ("archery,bbbbbbbbbbb,x,10,train", "times 'x', '10' are no seconds"),
    ],
)
def test_wrong_lines_are_refused(tmp_path: Path, line: str, message: str) -> None:
    root = put(tmp_path / "videos", "abseiling/aaaaaaaaaaa_000000_000010.mp4")
    annotate(tmp_path, "k.csv", HEADER, GOOD, line)
    with pytest.raises(ValueError, match=re.escape(message)):
        prepare_dataset("kinetics400", root, tmp_path / "k.csv")


@pytest.mark.parametrize(
    ("dataset", "files", "arguments", "message"),
    [
        ("kinetics400", {}, ["--root", "none"], "none: does not exist; check --root"),
        ("kinetics400", {}, ["--root", "a/k.csv"], "of the 1 annotated clips was found, such as aaaaaaaaaaa_0"),
        ("kinetics400", {"a/k.csv": "path,label\na.mp4,0"}, [], "holds no annotations of kinetics400; --annotations"),
        ("kinetics400", {"a/k.csv": "\udcff"}, [], "not UTF-8 text"),
        ("kinetics400", {"out/something.txt": "x"}, [], "exists already; remove it or name another --out"),
        ("ucf101", {}, [], "trainlist01.txt: No such file or directory"),
        ("hmdb51", {}, [], "holds no file CLASS_test_split1.txt"),
        ("ssv2", {}, [], "holds no annotations of ssv2; --annotations takes the folder that holds train.json"),
        ("ssv2", {"a/train.json": '[{"id": "1", "templ'}, [], "a/train.json: Unterminated string"),
        ("ssv2", {"a/train.json": '[{"id": "1"}]'}, [], "train.json: entry 0 has no id or no template"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(
    tmp_path: Path,
    refusal: Refusal,
    monkeypatch: pytest.MonkeyPatch,
    dataset: str,
    files: dict[str, str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    put(Path("v"), "abseiling/aaaaaaaaaaa_000000_000010.mp4")
    annotate(Path("a"), "k.csv", HEADER, GOOD)
    for name, text in files.items():
        put(Path(), name).joinpath(name).write_bytes(text.encode("utf-8", "surrogateescape"))
    before = sorted(tmp_path.rglob("*"))
    error = refusal("data", "prepare", dataset, "--root", "v", "--annotations", "a", "--out", "out", *arguments)
    assert message in error
    assert "\n" not in error
    assert sorted(tmp_path.rglob("*")) == before
