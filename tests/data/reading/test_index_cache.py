"""Kept frame indices: the same frames, packets read once, and no entry that is believed wrongly."""

import multiprocessing
import os
import shutil
import tracemalloc
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from video_files import decode_all, write_video
from video_kinds import KINDS
from vitaclip.data import IndexCache, Video, open_video
from vitaclip.data.reading import index_cache
from vitaclip.data.reading.frame_index import FrameIndex
from vitaclip.data.reading.index_cache import _state

NAMES = ["h264_open_gop.mp4", "vp8_hidden_frames.webm", "hevc.ts", "mpeg2.mpg", "h264_open_gop.avi", "gif.gif"]


def entries(cache: IndexCache) -> list[Path]:
    return [file for file in cache.folder.rglob("*") if file.is_file()]


def same(first: object, second: object) -> bool:
    return (
        isinstance(first, FrameIndex)
        and isinstance(second, FrameIndex)
        and all(np.array_equal(getattr(first, f.name), getattr(second, f.name)) for f in fields(FrameIndex))
    )


def check_frames(path: Path, cache: IndexCache) -> None:
    everything = decode_all(path)
    for chosen in ([0], [len(everything) - 1, 3], list(range(len(everything)))):
        with open_video(path, cache) as video:
            assert video.num_frames == len(everything)
            np.testing.assert_array_equal(video.frames(chosen).permute(0, 2, 3, 1).numpy(), everything[chosen])


def refuse(*_: object) -> None:
    raise AssertionError("read or counted again")


@pytest.mark.parametrize("name", NAMES)
def test_second_opening_reads_no_packets(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KINDS[name].make(tmp_path / name)
    cache = IndexCache(tmp_path / "cache")
    check_frames(tmp_path / name, cache)
    assert len(entries(cache)) == 1
    monkeypatch.setattr("vitaclip.data.reading.decode.read_index", refuse)
    check_frames(tmp_path / name, cache)
    monkeypatch.setattr(Video, "_decode_everything", refuse)
    with open_video(tmp_path / name, cache) as video:
        assert video.num_frames == 40


def test_an_index_comes_back_as_it_was(tmp_path: Path) -> None:
    path, cache = tmp_path / "some.mp4", IndexCache(tmp_path / "cache")
    path.write_bytes(b"content")
    times = np.arange(-3, 2**40, 2**37)
    places, keys = np.arange(len(times) - 1)[::-1], np.array([0, 4])
    index = FrameIndex(times, times + 1, places, keys, keys + 1, times[keys])
    cache.store(path, index)
    assert same(cache.load(path), index)
    assert not same(cache.load(path), replace(index, places=index.places + 1))
    cache.store(path, 17)
    assert cache.load(path) == 17
    assert cache.load(tmp_path / "other.mp4") is None


@pytest.mark.parametrize("change", ["content", "time", "version"])
def test_entry_of_changed_file_is_ignored(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = tmp_path / "video.mp4", IndexCache(tmp_path / "cache")
    write_video(path, frames=20)
    check_frames(path, cache)
    if change == "content":
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        write_video(path, frames=30, gop=7)
        os.utime(path, ns=times)
    elif change == "time":
        os.utime(path, ns=(0, 0))
    else:
        monkeypatch.setattr("av.__version__", "0.1")
    assert cache.load(path) is None
    check_frames(path, cache)
    assert cache.load(path) is not None
    assert len(entries(cache)) == 1


def test_replaced_file_is_noticed(tmp_path: Path) -> None:
    path, cache = tmp_path / "video.mp4", IndexCache(tmp_path / "cache")
    write_video(path, frames=20)
    check_frames(path, cache)
    shutil.move(write_video(tmp_path / "new.mp4", frames=25, b_frames=0), path)
    check_frames(path, cache)


def test_any_damage_to_an_entry_makes_it_missing(tmp_path: Path) -> None:
    path, cache = write_video(tmp_path / "video.mp4", frames=20), IndexCache(tmp_path / "cache")
    check_frames(path, cache)
    (entry,) = entries(cache)
    whole, index = entry.read_bytes(), cache.load(path)
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        entry.write_bytes(damaged)
        loaded = cache.load(path)  # a bit that means nothing may change without harm
        assert loaded is None or same(loaded, index)
    for length in (0, 1, 5, len(whole) // 2, len(whole) - 1):
        entry.write_bytes(whole[:length])
        assert cache.load(path) is None
    check_frames(path, cache)
    assert entry.read_bytes() == whole


POISONED = {
    "negative length": b"[-1, 1, 1, 1, 0, 0]\n" + bytes(16),
    "wrong length": b"[9, 9, 9, 9, 9, 9]\n" + bytes(16),
    "too few lengths": b"[1]\n" + bytes(8),
    "no length": b"true\n",
    "negative count": b"-4\n",
    "deep": b"[" * 100_000,
    "text": b'"abc"\n',
    "place of no packet": b"[1, 1, 1, 1, 1, 1]\n" + bytes(16) + b"\7" + bytes(31),
    "times that lack": b"[1, 1, 1, 1, 1, 0]\n" + bytes(40),
}


@pytest.mark.parametrize("body", POISONED.values(), ids=POISONED)
def test_a_poisoned_entry_counts_as_missing(tmp_path: Path, body: bytes) -> None:
    """As somebody else may write it who shares the folder: right name, right state, wrong content."""
    path, cache = write_video(tmp_path / "video.mp4", frames=4), IndexCache(tmp_path / "cache")
    cache.store_bytes(str(path), _state(path), body)
    assert cache.load(path) is None
    with open_video(path, cache) as video:
        assert video.num_frames == 4


def test_decompression_bomb_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_cache, "MAX_ENTRY_BYTES", 2**20)
    path, cache = write_video(tmp_path / "video.mp4", frames=4), IndexCache(tmp_path / "cache")
    cache.store_bytes(str(path), _state(path), b"4\n" + bytes(2**26))
    tracemalloc.start()
    assert cache.load(path) is None
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_pipe_in_cache_does_not_block(tmp_path: Path) -> None:
    path, cache = write_video(tmp_path / "video.mp4", frames=4), IndexCache(tmp_path / "cache")
    cache.store(path, 4)
    (entry,) = entries(cache)
    entry.unlink()
    os.mkfifo(entry)
    assert cache.load(path) is None


def _fill(folder: Path, paths: list[Path]) -> None:
    cache = IndexCache(folder)
    for _ in range(20):
        for path in paths:
            with open_video(path, cache) as video:
                assert video.frames([3]).shape == (1, 3, 48, 64)
                cache.store(path, video.num_frames)


def test_many_processes_share_a_folder(tmp_path: Path) -> None:
    paths = [write_video(tmp_path / f"{n}.mp4", frames=8, seed=n) for n in range(3)]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_fill, args=(tmp_path / "cache", paths)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    cache = IndexCache(tmp_path / "cache")
    assert len(entries(cache)) == 3  # and nothing half-written beside them
    for path in paths:
        assert cache.load(path) is not None


def test_unwritable_cache_is_a_warning(tmp_path: Path) -> None:
    path, cache = write_video(tmp_path / "video.mp4", frames=20), IndexCache(tmp_path / "cache")
    shutil.rmtree(cache.folder)
    cache.folder.write_text("in the way")
    with pytest.warns(RuntimeWarning, match="cannot be written"):
        check_frames(path, cache)


def test_uncreatable_cache_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"index_cache = .*file/cache: Not a directory; name a folder"):
        IndexCache(tmp_path / "file" / "cache")
