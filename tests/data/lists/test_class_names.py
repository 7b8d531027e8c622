"""Names of classes in files of several kinds."""

from pathlib import Path

import pytest

from vitaclip.data import check_class_names, read_class_names


def test_class_names(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("# four\nguitar\n\nplaying guitar \nswimming, indoors\ntai chi", "utf-8")
    assert read_class_names(tmp_path / "names.txt") == ("guitar", "playing guitar", "swimming, indoors", "tai chi")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no class names; give at least one"),
        ("a\nb\n\na\n", r"names\.txt:4: class 'a' is the same as 'a' \(names\.txt:1\); rename or remove one"),
        (
            "a\nb\nA\n",
            r"names\.txt:3: class 'A' is but for capitals or blanks the same as 'a' \(names\.txt:1\)",
        ),
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
        'id,name\n0,run\n1,"jump, then sit"\n2,stand\n',
        'Class,ID\nrun,0\n"jump, then sit",1\nstand,2\n',
    ],
)
def test_class_names_may_be_numbered(tmp_path: Path, text: str) -> None:
    (tmp_path / "names.csv").write_text(text)
    assert read_class_names(tmp_path / "names.csv") == ("run", "jump, then sit", "stand")


@pytest.mark.parametrize("text", ["1,run\n0,jump\n", "id,name\n0,run\n2,jump\n", "id,name\n0,run\n1,jump,sit\n"])
def test_class_names_numbered_otherwise_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "names.csv").write_text(text)
    with pytest.raises(ValueError, match=r"names\.csv: class . is not in a line '.,name' .* which go 0, 1, 2"):
        read_class_names(tmp_path / "names.csv")


def test_class_names_with_commas_are_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("3, 2, 1, go\nrun\nname, id and place\n")
    assert read_class_names(tmp_path / "names.txt") == ("3, 2, 1, go", "run", "name, id and place")


def test_class_names_from_a_program() -> None:
    with pytest.raises(ValueError, match=r"--classes, class 1: blank"):
        check_class_names(["a", " "], "--classes")
    with pytest.raises(ValueError, match="'abc' is one text"):
        check_class_names("abc", "--classes")
