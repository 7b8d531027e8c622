"""The store in a folder: commits that are there as a whole or not at all."""

import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import killing
from search_case import COMMITS, commit, finish, made_up, rows_of
from torchrun import fork, status_of
from vitaclip.search.parts import MANIFEST, PartStore
from vitaclip.search.rows import Rows, top_numbers


@pytest.mark.parametrize("where", ["fsync", "replace", "unlink"])
def test_a_killed_writer_loses_and_doubles_nothing(where: str, tmp_path: Path) -> None:
    finish(tmp_path / "whole")
    kills = 0
    for number in range(1, 100):
        folder = tmp_path / f"{where}{number}"

        def run(folder: Path = folder, number: int = number) -> None:
            owner: Any = os if where == "fsync" else Path
            killing.before_call(owner, where, number, lambda *_, **__: killing.die())
            finish(folder)

        died = status_of(fork(run)) == -signal.SIGKILL
        kills += died
        if (folder / MANIFEST).exists():
            files, rows = made_up(folder)
            last = max(int(video.removeprefix("video")) for video in rows)
            assert set(rows) == {f"video{n}" for n in range(last + 1)}
            assert set(files) == {f"/{n}.mp4" for n in range(max(0, last - 2), last + 1)}
        finish(folder)
        assert made_up(folder) == made_up(tmp_path / "whole")
        if not died:
            break
    assert kills > 5
    assert not died


def test_parts_are_few_and_hold_all(tmp_path: Path) -> None:
    finish(tmp_path)
    store = PartStore(tmp_path)
    assert len(store.rows("model")) <= 3
    assert sorted(store.files) == ["/3.mp4", "/4.mp4", "/5.mp4"]


def test_large_parts_are_not_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitaclip.search.parts._PART_ROWS", 4)
    finish(tmp_path)
    assert [len(piece) for piece in PartStore(tmp_path).rows("model")] == [4, 4, 4]


def test_a_second_writer_is_told(tmp_path: Path) -> None:
    first, second = PartStore(tmp_path), PartStore(tmp_path)
    with first.writing(), pytest.raises(ValueError, match="another process is writing there"), second.writing():
        pass
    with second.writing():
        pass


def test_a_reader_goes_on_while_parts_are_merged(tmp_path: Path) -> None:
    reader = PartStore(tmp_path)
    writer = PartStore(tmp_path)
    with writer.writing():
        commit(writer, 0)
        reader = PartStore(tmp_path)
        commit(writer, 1)
    assert sum(map(len, reader.rows("model"))) == 4


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PartStore(tmp_path)
    with store.writing():
        commit(store, 0)
    before = made_up(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("safetensors.torch.save_file", "os.fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(name, full)
            with pytest.raises(OSError, match="No space left on device"), store.writing():
                commit(store, 1)
        assert made_up(tmp_path) == before
    finish(tmp_path)
    assert len(made_up(tmp_path)[1]) == COMMITS


def test_other_folders_and_versions_are_refused(tmp_path: Path) -> None:
    finish(tmp_path / "archive")
    manifest = json.loads((tmp_path / "archive" / MANIFEST).read_text())
    (tmp_path / "archive" / MANIFEST).write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(ValueError, match="an archive of format 2, this version reads 1; index anew into another"):
        PartStore(tmp_path / "archive")
    with pytest.raises(ValueError, match="holds something else than an archive; name another folder"):
        PartStore(tmp_path)
    (tmp_path / "archive" / MANIFEST).write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        PartStore(tmp_path / "archive")


def test_search_is_exact_whatever_the_parts(tmp_path: Path) -> None:
    finish(tmp_path)
    store = PartStore(tmp_path)
    rows, query = Rows.join(store.rows("model")), rows_of(9).vectors[0]
    allowed = {"video1", "video4"}
    scores, found = store.search("model", query, 3, allowed)
    expected = rows.vectors[rows.of(allowed)] @ query
    assert scores.tolist() == pytest.approx(sorted(expected.tolist(), reverse=True)[:3])
    assert {found.ids[n] for n in found.videos} <= allowed
    assert (found.vectors @ query).tolist() == pytest.approx(scores.tolist())


def test_equal_scores_keep_the_order_of_rows() -> None:
    scores = np.array([1.0, 2.0, 1.0, 2.0, 1.0])
    assert [top_numbers(scores, count).tolist() for count in (3, 9)] == [[1, 3, 0], [1, 3, 0, 2, 4]]
