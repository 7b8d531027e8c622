"""Files are whole or not there, whoever else writes, and get the mode that a shell's redirection would give them."""

import csv
import io
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from torchrun import fork, status_of
from vitaclip.files import (
    atomic_write,
    check_no_input,
    check_own,
    check_place,
    csv_text,
    write_json,
    write_safetensors,
    write_text,
)


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_writers_with_one_process_id_never_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as in a container of its own
    file = tmp_path / "shared.txt"

    def write(letter: str) -> None:
        for _ in range(20):
            write_text(file, 5000 * letter)
            assert file.read_text() in (5000 * "a", 5000 * "b")

    writers = [fork(partial(write, letter)) for letter in "ab"]
    assert [status_of(writer) for writer in writers] == [0, 0]
    assert [file.name for file in tmp_path.iterdir()] == ["shared.txt"]


@pytest.mark.usefixtures("umask")
def test_umask_and_mode_of_old_file_are_kept(tmp_path: Path) -> None:
    new, private = tmp_path / "new.safetensors", tmp_path / "private.json"
    write_safetensors(new, {"x": torch.zeros(1)})
    assert stat.S_IMODE(new.stat().st_mode) == 0o640
    private.touch(0o600)
    write_json(private, {})
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_write_error_names_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as raised, atomic_write(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert raised.value.filename == str(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_is_no_number(value: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": [value]})
    assert list(tmp_path.iterdir()) == []


def test_place_that_is_read_is_refused(tmp_path: Path) -> None:
    file, link = tmp_path / "list.csv", tmp_path / "link.csv"
    file.write_text("a")
    link.symlink_to(file)
    for place in (file, link):
        with pytest.raises(ValueError, match="is read by this command"):
            check_place(place, ["red, blue", 5000 * "x", str(file)])
    check_place(tmp_path / "other.csv", [str(file)])
    check_no_input(tmp_path / "new", [tmp_path / "new"])  # not there: nothing to lose
    assert file.read_text() == "a"


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "README.md", "mine")
    with pytest.raises(ValueError, match="was not written by vitaclip"):
        check_own(tmp_path / "README.md", "sign", "other sign")
    write_text(tmp_path / "README.md", "with a sign in it")
    check_own(tmp_path / "README.md", "sign")
    check_own(tmp_path / "new.md", "sign")


def test_csv_for_people_holds_no_formula() -> None:
    cells = ["=cmd|' /C calc'!A0", "+1+1", "@SUM(1)", "-1", "\tx", "plain", "a=b", 3]
    (found,) = csv.reader(io.StringIO(csv_text([cells], for_people=True)))
    assert found == ["'=cmd|' /C calc'!A0", "'+1+1", "'@SUM(1)", "'-1", "'\tx", "plain", "a=b", "3"]
    (kept,) = csv.reader(io.StringIO(csv_text([cells])))
    assert kept == [str(cell) for cell in cells]
