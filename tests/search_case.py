"""What tests of archives share: short windows, the content of an archive, and commits of rows that are made up."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import killing
from vitaclip.moments.config import WindowsConfig
from vitaclip.moments.vectors import VideoVectors
from vitaclip.predictor import Predictor
from vitaclip.search import cluster
from vitaclip.search.archive import Archive
from vitaclip.search.rows import FileEntry, Rows, Store

COMMITS = 6
WINDOWS = WindowsConfig(lengths_s=(0.4, 0.8))


def content(archive: Archive) -> dict[str, tuple[bytes, ...]]:
    """Times, hashes and vectors of each file's rows, to the bit; of a damaged file none."""
    (model,) = archive.store.models
    rows = Rows.join(archive.store.rows(model))
    assert len(rows) == len({(video, *time) for video, time in zip(rows.videos, rows.times.tolist(), strict=True)})
    found = dict[str, tuple[bytes, ...]]()
    for path, entry in archive.store.files.items():
        own = rows.take(np.flatnonzero(rows.of({entry.video})))
        found[path] = own.times.tobytes(), own.looks.tobytes(), own.vectors.tobytes()
    return found


def rows_of(number: int) -> Rows:
    rng = np.random.default_rng(number)
    videos, times = np.zeros(2, np.int32), np.array([[0.0, 1.0], [1.0, 2.0]])
    vectors = rng.standard_normal((2, 4)).astype(np.float32)
    return Rows((f"video{number}",), videos, times, rng.integers(0, 2**60, (2, 3)), vectors)


def commit(store: Store, number: int) -> None:
    files: dict[str, FileEntry | None] = {f"/{number}.mp4": FileEntry(f"video{number}", (number, 1))}
    if number > 2:
        files[f"/{number - 3}.mp4"] = None
    store.commit("model", {"model": "m"}, [rows_of(number)], files)


def finish(path: Path) -> None:
    """Make the commits that are not there yet."""
    store = Archive.open(path).store
    with store.writing():
        done = store.videos("model")
        for number in range(COMMITS):
            if f"video{number}" not in done:
                commit(store, number)


def made_up(path: Path) -> tuple[dict[str, FileEntry], dict[str, bytes]]:
    """The files, and each video's vectors to the bit."""
    store = Archive.open(path).store
    rows = Rows.join(store.rows("model"))
    assert len(rows) == 2 * len(rows.ids)
    return dict(store.files), {v: rows.vectors[rows.of({v})].tobytes() for v in rows.ids}


class Mortal(Predictor):
    """The first process that it is sent to is killed midway in the first videos it is given."""

    marks: Path
    """Folder with a file for each process that it was sent to."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        mark = self.marks / f"{len([*self.marks.iterdir()])}"
        mark.touch()
        if mark.name == "0":
            whole = vars(cluster)["window_vectors"]

            def half(*arguments: Any) -> Iterator[VideoVectors]:
                yield next(whole(*arguments))
                killing.die()

            vars(cluster)["window_vectors"] = half
