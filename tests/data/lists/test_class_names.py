"""Names of classes in files of several kinds."""

from pathlib import Path

import pytest

from vitaclip.data.lists.class_names import read_class_names


def test_class_names(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("# four\nguitar\n\nplaying guitar \nswimming, indoors\ntai chi", "utf-8")
    assert read_class_names(tmp_path / "names.txt") == ("guitar", "playing guitar", "swimming, indoors", "tai chi")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no class names; give at least one"),
        ("a\nb\n\na\n", r"names\.txt:4: class 'a' reads the same as 'a' \(names\.txt:1\); rename one"),
        ("a\n\u200b\n", r"names\.txt:2: blank class name '\\u200b'"),
    ],
)
def test_bad_class_names(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "names.txt").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message):
        read_class_names(tmp_path / "names.txt")


@pytest.mark.parametrize(
    "text",
    [
        '0,run\n1,"jump, then sit"\n2,stand\n',
        "2 stand\n0 run\n1 jump, then sit\n",
        "0: run\n1: jump, then sit\n2: stand\n",
        "0. run\r1. jump, then sit\r2. stand\r",
        'run,0\n"jump, then sit",1\nstand,2\n',
        "run 0\njump, then sit 1\nstand 2\n",
        'id,name\n0,run\n1,"jump, then sit"\n2,stand\n',
        'Class,ID\nrun,0\n"jump, then sit",1\nstand,2\n',
        "id\tname\n1\tjump, then sit\n0\trun\n2\tstand\n",
        '{"run": 0, "stand": 2, "jump, then sit": 1}',
        '{\n "0": "run",\n "1": "jump, then sit",\n "2": "stand"\n}',
        '{"model": "x", "id2label": {"0": "run", "1": "jump, then sit", "2": "stand"}}',
        '{"label2id": {"run": 0, "jump, then sit": 1, "stand": 2}}',
        '["run", "jump, then sit", "stand"]',
    ],
)
def test_numbers_and_json_give_the_names(tmp_path: Path, text: str) -> None:
    (tmp_path / "names.csv").write_bytes(text.encode())
    assert read_class_names(tmp_path / "names.csv") == ("run", "jump, then sit", "stand")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,run\n2,jump\n", "classes are numbered from 1, labels from 0; number them 0, 1, 2"),
        ('{"run": 1, "jump": 2}', "classes are numbered from 1"),
        ("0,run\n0,jump\n", "no class, or more than one, is numbered 1"),
        ('{"run": true, "jump": 1.5}', 'write a JSON list of names, {"name": number} or'),
        ('{"walk": 0,\n', "is no JSON that can be read"),
        ('["run", 3]', "class 1: 3 is no text"),
        ("[" * 100_000, "recursion"),
        ('{"x": ' * 100_000, "recursion"),
        ('0,run\n1,"' + "x" * 200_000 + '"\n1,jump', "more than one, is numbered 2"),
    ],
)
def test_other_numbers_and_json_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "names.csv").write_text(text)
    with pytest.raises(ValueError, match=r"^\S*names\.csv[:,] ") as caught:
        read_class_names(tmp_path / "names.csv")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "names",
    [
        ("3, 2, 1, go", "run", "name, id and place"),
        ("1 person walking", "1 person running", "2 people hugging"),
        ("class number 0 of two", "class number 1 of two"),
        ("3 point shot", "50 yard dash"),
        ("area 51",),
    ],
)
def test_names_may_hold_numbers(tmp_path: Path, names: tuple[str, ...]) -> None:
    (tmp_path / "names.txt").write_text("\n".join(names))
    assert read_class_names(tmp_path / "names.txt") == names
