"""What an archive holds after each change of its videos, and what it refuses."""

import shutil
from pathlib import Path

import pytest

from search_case import WINDOWS, content
from small_world import small_model
from vitaclip.moments.config import WindowsConfig
from vitaclip.predictor import Predictor
from vitaclip.search.archive import Archive
from vitaclip.search.query import file_vector
from vitaclip.search.rows import Rows


@pytest.fixture
def archive(predictor: Predictor, films: Path, tmp_path: Path) -> Archive:
    made = Archive.open(tmp_path / "archive")
    changes = made.add(predictor, [films], WINDOWS)
    assert changes.embedded == 4
    assert "damaged.mp4 cannot be read" in changes.damaged[0]
    return made


def test_changes_leave_what_a_new_archive_would_hold(
    archive: Archive, predictor: Predictor, films: Path, video_folder: Path, tmp_path: Path
) -> None:
    (films / "below").mkdir()
    (films / "clip0.mp4").rename(films / "below" / "moved.mp4")
    shutil.copy(films / "clip1.mp4", films / "copy.mp4")
    (films / "clip2.mp4").unlink()
    shutil.copy(video_folder / "clip5.mp4", films / "clip3.mp4")
    shutil.copy(video_folder / "clip6.mp4", films)
    changes = archive.add(predictor, [films], WINDOWS)
    assert (changes.embedded, changes.known, changes.same, changes.removed) == (2, 2, 2, 2)
    assert changes.damaged == []
    fresh = Archive.open(tmp_path / "fresh")
    fresh.add(predictor, [films], WINDOWS)
    assert content(Archive.open(tmp_path / "archive")) == content(archive) == content(fresh)


def test_a_damaged_file_is_tried_again_when_it_has_changed(
    archive: Archive, predictor: Predictor, films: Path, video_folder: Path, opened: list[Path]
) -> None:
    assert archive.add(predictor, [films], WINDOWS).same == 5
    shutil.copy(video_folder / "clip4.mp4", films / "damaged.mp4")
    changes = archive.add(predictor, [films], WINDOWS)
    assert (changes.embedded, changes.same, changes.damaged) == (1, 4, [])


@pytest.mark.parametrize("name", ["archive", "archive.lance"])
def test_what_is_not_there_is_tried_again(name: str, predictor: Predictor, films: Path, tmp_path: Path) -> None:
    archive, missing = Archive.open(tmp_path / name), films / "later.mp4"
    assert "does not exist" in archive.add(predictor, [missing], WINDOWS).damaged[0]
    address = archive.add(predictor, ["http://127.0.0.1:9/a.mp4"], WINDOWS).damaged[0]
    assert "cannot be reached" in address
    assert archive.store.files == {}
    with pytest.raises(ValueError, match="no rows, since no video could be read"):
        archive.search(predictor, ["red heart"])
    shutil.copy(films / "clip0.mp4", missing)
    assert archive.add(predictor, [missing], WINDOWS).embedded == 1


def test_an_interrupted_call_keeps_what_is_done(predictor: Predictor, films: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    archive = Archive.open(tmp_path / "archive")
    with pytest.raises(KeyboardInterrupt):
        archive.add(predictor, [films], WINDOWS, on_progress=interrupt)
    changes = Archive.open(tmp_path / "archive").add(predictor, [films], WINDOWS)
    assert (changes.embedded, changes.same) == (2, 2)


def test_parts_merge_into_what_one_process_makes(
    archive: Archive, predictor: Predictor, films: Path, tmp_path: Path
) -> None:
    parts = [Archive.open(tmp_path / name) for name in ("part0", "part1.lance")]
    counts = [part.add(predictor, [films], WINDOWS, shard=(n, 2)).embedded for n, part in enumerate(parts)]
    assert sum(counts) == 4
    assert [Archive.is_at(tmp_path / name) for name in ("part0", "part1.lance", "none", "none.lance")] == [True] * 2 + [
        False
    ] * 2
    merged = Archive.open(tmp_path / "merged")
    merged.merge(parts)
    merged.merge(parts)
    assert content(merged) == content(archive)


def test_models_lie_side_by_side_and_never_mix(
    archive: Archive, predictor: Predictor, world: Path, films: Path, video_folder: Path
) -> None:
    other = Predictor(small_model(world, num_frames=3), data=predictor.data)
    with pytest.raises(ValueError, match=r"no rows of .*; there are rows of .*: name that model, or index with this"):
        archive.search(other, ["red heart"])
    assert archive.add(other, [films], WINDOWS).embedded == 4
    for each in (predictor, other):
        (found,) = archive.search(each, [video_folder / "clip1.mp4"], top_k=1)
        rows = Rows.join(archive.store.rows(each.provenance()["fingerprint"]))
        best = (rows.vectors @ file_vector(each, video_folder / "clip1.mp4", WINDOWS)).max()
        assert found.hits[0].score == pytest.approx(best)
    with pytest.raises(ValueError, match=r"its rows were made with windows .*; give the same, or name another folder"):
        archive.add(predictor, [films], WindowsConfig())


def test_a_second_model_keeps_the_rows_of_every_commit(
    archive: Archive, predictor: Predictor, world: Path, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitaclip.search.archive._COMMIT_ROWS", 1)
    other = Predictor(small_model(world, num_frames=3), data=predictor.data)
    archive.add(other, [films], WINDOWS)
    assert len(archive.store.videos(other.provenance()["fingerprint"])) == 4


def test_rows_of_videos_that_are_gone_are_written_out(
    archive: Archive, predictor: Predictor, films: Path, tmp_path: Path
) -> None:
    for number in range(3):
        (films / f"clip{number}.mp4").unlink()
    archive.add(predictor, [films], WINDOWS)
    before = content(archive)
    archive.add(predictor, [films], WINDOWS)
    (model,) = archive.store.models
    assert {video for rows in archive.store.rows(model) for video in rows.ids} == {
        entry.video for entry in archive.store.files.values() if entry.video
    }
    assert content(archive) == before == content(Archive.open(tmp_path / "archive"))
