"""The store in LanceDB gives what the one in a folder does."""

from pathlib import Path

import pytest

from search_case import WINDOWS, commit, content, finish, made_up, rows_of
from vitaclip.predictor import Predictor
from vitaclip.search import lance
from vitaclip.search.archive import Archive
from vitaclip.search.lance import LanceStore

pytest.importorskip("lancedb")


@pytest.mark.parametrize("indexed", [False, True])
def test_rows_and_answers_are_those_of_the_other_store(
    indexed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lance, "INDEX_ROWS", 4 if indexed else 10**6)
    finish(tmp_path / "parts")
    finish(tmp_path / "archive.lance")
    assert made_up(tmp_path / "archive.lance") == made_up(tmp_path / "parts")
    stores = [Archive.open(tmp_path / name).store for name in ("parts", "archive.lance")]
    assert stores[0].videos("model") == stores[1].videos("model")
    videos = {"video1", "video4", "video'x"}
    for query in rows_of(9).vectors:
        (scores, rows), (other_scores, other) = [store.search("model", query, 3, videos) for store in stores]
        assert other_scores.tolist() == pytest.approx(scores.tolist(), abs=1e-6)
        assert [other.ids[n] for n in other.videos] == [rows.ids[n] for n in rows.videos]
        assert (other.looks == rows.looks).all()
        assert (other.times == rows.times).all()


def test_a_stop_between_rows_and_files_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = LanceStore._put

    def stop(store: LanceStore, name: str, *given: object) -> None:
        if name == "files" and len(store.files) == 2:
            raise KeyboardInterrupt
        put(store, name, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(LanceStore, "_put", stop)
    with pytest.raises(KeyboardInterrupt):
        finish(tmp_path / "archive.lance")
    store = LanceStore(str(tmp_path / "archive.lance"))
    assert len(store.videos("model")) == len(store.files) + 1


def test_archive_is_kept_up_to_date(predictor: Predictor, films: Path, tmp_path: Path) -> None:
    archives = [Archive.open(tmp_path / name) for name in ("archive", "archive.lance")]
    for archive in archives:
        archive.add(predictor, [films], WINDOWS)
    (films / "clip0.mp4").rename(films / "moved.mp4")
    (films / "clip1.mp4").unlink()
    for archive in archives:
        changes = archive.add(predictor, [films], WINDOWS)
        assert (changes.embedded, changes.known, changes.removed) == (0, 1, 2)
    assert content(archives[0]) == content(archives[1])
    (films / "moved.mp4").unlink()
    (films / "clip2.mp4").unlink()
    archives[1].add(predictor, [films], WINDOWS)
    (model,) = archives[1].store.models
    assert len(archives[1].store.videos(model)) == 1


def test_second_writers_and_other_versions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "archive.lance")
    first, second = LanceStore(path), LanceStore(path)
    with first.writing():
        commit(first, 0)
        with pytest.raises(ValueError, match="another process is writing"), second.writing():
            pass
    monkeypatch.setattr(lance, "FORMAT", 2)
    with pytest.raises(ValueError, match="an archive of format 1, this version reads 2"):
        LanceStore(path)


def test_first_of_two_writers_at_an_address_is_told(tmp_path: Path) -> None:
    address = f"file://{tmp_path}/archive"
    first, second = LanceStore(address), LanceStore(address)

    def write() -> None:
        with first.writing():
            commit(first, 0)
            with second.writing():
                commit(second, 1)
            commit(first, 2)

    with pytest.raises(ValueError, match="another process has begun to write there"):
        write()
    assert sorted(LanceStore(address).videos("model")) == ["video0", "video1"]
