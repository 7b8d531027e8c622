"""Names of classes in files."""

from pathlib import Path

import pytest

from vitaclip.data.lists.sources import read_class_names


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
    ("text", "what"),
    [
        ('0,run\n1,"jump, then sit"\n2,stand\n', "numbers its classes"),
        ("1 run\n2 jump\n", "numbers its classes"),
        ("2. stand\n0. run\n1. jump\n", "numbers its classes"),
        ('run,0\n"jump, then sit",1\nstand,2\n', "numbers its classes"),
        ("id,name\n0,run\n1,sit\n", "numbers its classes"),
        ('{"run": 0, "stand": 1}', "is JSON"),
        ('["run", "stand"]', "is JSON"),
    ],
)
def test_numbers_and_json_are_refused(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "names.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"names\.csv: {what}; write the names alone, one a line, in the order"):
        read_class_names(tmp_path / "names.csv")


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
