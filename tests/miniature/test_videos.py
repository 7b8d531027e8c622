"""The files of the world: they decode to what was rendered, and a folder is whole or not there."""

from pathlib import Path

import av
import numpy as np
import pytest

from vitaclip.miniature import videos, world


@pytest.fixture(autouse=True)
def few_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "trained_classes", lambda: ("red heart moving left", "blue key growing"))
    monkeypatch.setattr(world, "novel_classes", lambda: ("red arrow shrinking",))


def decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.average_rate == world.FRAMES_PER_SECOND
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])


def test_a_file_shows_the_rendered_video(tmp_path: Path) -> None:
    listing = videos.write_videos(tmp_path, "train", 2, seed=4, processes=0)
    rows = [line.split(",") for line in listing.read_text().splitlines()]
    assert rows == [
        [f"train/{name.replace(' ', '_')}/{number:05d}.mp4", name]
        for name in ("red heart moving left", "blue key growing")
        for number in (1, 2)
    ]
    for number, (path, name) in enumerate(rows):
        shown = decode(tmp_path / path).astype(float)
        drawn = world.render_video(4, world.class_id_of(name), 1 + number % 2)
        assert shown.shape == (24, 96, 96, 3)
        # 4:2:0 blurs the colour at the outline; elsewhere the coding is fine.
        assert np.abs(shown - drawn).mean() < 3.0
        assert np.abs(shown - drawn[::-1]).mean() > np.abs(shown - drawn).mean() + 0.5
    assert (tmp_path / "classes_trained.txt").read_text() == "red heart moving left\nblue key growing\n"
    assert (tmp_path / "classes_novel.txt").read_text() == "red arrow shrinking\n"


def test_splits_share_no_clip(tmp_path: Path) -> None:
    for split in ("train", "test_trained"):
        videos.write_videos(tmp_path, split, 1, seed=0, processes=0)
    name = "red_heart_moving_left/00001.mp4"
    assert (tmp_path / "train" / name).read_bytes() != (tmp_path / "test_trained" / name).read_bytes()


def test_two_processes_write_the_same_files(tmp_path: Path) -> None:
    counts: list[int] = []
    for folder, processes in (("one", 0), ("two", 2)):
        videos.write_videos(tmp_path / folder, "train", 1, seed=0, processes=processes, on_done=counts.append)
    files = sorted((tmp_path / "one").rglob("*.mp4"))
    assert len(files) == 2
    for path in files:
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()
    assert counts == [1, 1] * 2


def test_what_is_complete_is_kept(tmp_path: Path) -> None:
    listing = videos.write_videos(tmp_path, "test_novel", 1, seed=0, processes=0)
    path = next(tmp_path.rglob("*.mp4"))
    before = path.stat().st_mtime_ns
    listing.unlink()
    assert videos.write_videos(tmp_path, "test_novel", 1, seed=0, processes=0).is_file()
    assert path.stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="holds other videos"):
        videos.write_videos(tmp_path, "test_novel", 2, seed=0, processes=0)


def test_an_interrupted_run_leaves_no_split(tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        videos.write_videos(tmp_path, "train", 1, seed=0, processes=0, on_done=stop)
    assert not (tmp_path / "train").exists()
    assert not (tmp_path / "train.csv").exists()
    videos.write_videos(tmp_path, "train", 1, seed=0, processes=0)
    assert len(list((tmp_path / "train").rglob("*.mp4"))) == 2
    assert [path.name for path in tmp_path.glob(".*")] == []
