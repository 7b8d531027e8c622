"""What an archive holds: files, and rows, one for each window of a video; the contract of what stores them.

Axes: n rows, D numbers of a vector.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

FORMAT = 1
"""Version of what stores write. Another one is refused."""


class FileEntry(NamedTuple):
    """What is known of a file."""

    video: str
    """Hash of its content, which its rows bear, wherever the file lies; empty if nothing of it could be read."""
    state: tuple[str | int, ...]
    """Bytes and time of modification in ns when it was read; of an address, none."""
    error: str = ""
    """Why it could not be read, or not to its end."""
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, video: str, state: Sequence[str | int], error: str, labels: Sequence[str]) -> "FileEntry":
        """The entry, of what JSON made of it."""
        return cls(video, tuple(state), error, tuple(labels))


@dataclass(frozen=True)
class Rows:
    """Windows of videos; those of a video follow each other."""

    ids: tuple[str, ...]
    """The videos."""
    videos: np.ndarray
    """(n,) int32 number of the video of each row."""
    times: np.ndarray
    """(n, 2) seconds where it starts and ends."""
    looks: np.ndarray
    """(n, 3) int64 hashes of its first, middle and last picture, see `hash_pictures`."""
    vectors: np.ndarray
    """(n, D) float32, of unit length."""

    def __len__(self) -> int:
        return len(self.videos)

    def take(self, numbers: np.ndarray) -> "Rows":
        """The rows with these numbers, in their order."""
        return Rows(self.ids, self.videos[numbers], self.times[numbers], self.looks[numbers], self.vectors[numbers])

    def of(self, wanted: Collection[str]) -> np.ndarray:
        """(n,) whether each row is of one of these videos."""
        return np.array([video in wanted for video in self.ids], bool)[self.videos]

    @classmethod
    def join(cls, parts: Sequence["Rows"]) -> "Rows":
        """The rows of several parts, and the videos that have rows."""
        number = dict[str, int]()
        videos = []
        for part in parts:
            used, inverse = np.unique(part.videos, return_inverse=True)
            own = [number.setdefault(part.ids[n], len(number)) for n in used]
            videos.append(np.array(own, np.int32)[inverse])
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in ("times", "looks", "vectors")]
        return cls(tuple(number), np.concatenate(videos), *columns)


class Store(ABC):
    """Where an archive's files and rows lie. Each commit is there as a whole or not at all, however a process ends."""

    models: Mapping[str, Mapping[str, Any]]
    """What is known of each model, by its fingerprint."""
    files: dict[str, FileEntry]
    """By absolute path, or address."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[None]:
        """Keep other processes from writing while the context lasts, and read what they have written.

        Raises:
            ValueError: another process is writing.
        """

    @abstractmethod
    def commit(
        self, model: str, about: Mapping[str, Any], rows: Sequence[Rows], files: Mapping[str, FileEntry | None]
    ) -> None:
        """Add rows of a model, and what is known of files; None forgets a file. Inside `writing` alone.

        Raises:
            OSError: the system refuses, as on a full disk; what was there stays.
        """

    def apply(self, files: Mapping[str, FileEntry | None]) -> None:
        """Take note of files in memory; None forgets one."""
        self.files.update({name: entry for name, entry in files.items() if entry})
        for name in [name for name, entry in files.items() if not entry]:
            self.files.pop(name, None)
        self.__dict__.pop("places", None)

    @cached_property
    def places(self) -> dict[str, list[tuple[str, FileEntry]]]:
        """The files of each video."""
        found = dict[str, list[tuple[str, FileEntry]]]()
        for name, entry in self.files.items():
            found.setdefault(entry.video, []).append((name, entry))
        return found

    @abstractmethod
    def rows(self, model: str) -> Sequence[Rows]:
        """All rows of a model in some pieces, also those of videos that no file has any more."""

    def videos(self, model: str) -> dict[str, float]:
        """The videos that have rows of a model, and their seconds: a row of each ends where it ends."""
        found = dict[str, float]()
        for piece in self.rows(model):
            lengths = np.zeros(len(piece.ids))
            np.maximum.at(lengths, piece.videos, piece.times[:, 1])
            found |= dict(zip(piece.ids, lengths.tolist(), strict=True))
        return found

    def search(
        self, model: str, query: np.ndarray, count: int, videos: Collection[str] | None = None
    ) -> tuple[np.ndarray, Rows]:
        """At most `count` scores with a query (D,), best first, and the rows of these videos that have them; of equal
        scores that of the earlier row is first. None: of all videos, also of those that no file has any more."""
        best = list[tuple[np.ndarray, Rows]]()
        for piece in self.rows(model):
            scores = (torch.from_numpy(piece.vectors) @ torch.from_numpy(query)).numpy()
            if videos is not None:
                scores[~piece.of(videos)] = -np.inf
            best.append((scores[(top := top_numbers(scores, count))], piece.take(top)))
        if not best:
            raise ValueError("the archive has no rows, since no video could be read; index one that can")
        scores, rows = np.concatenate([each for each, _ in best]), Rows.join([rows for _, rows in best])
        return scores[(top := top_numbers(scores, count))], rows.take(top)


def top_numbers(scores: np.ndarray, count: int) -> np.ndarray:
    """The numbers of at most `count` greatest scores, greatest first, of equal ones the first; -inf is none.

    >>> top_numbers(np.array([0.1, 0.5, -np.inf, 0.5]), 3)
    array([1, 3, 0])
    """
    least = np.partition(scores, -count)[-count] if count < len(scores) else -np.inf
    among = np.flatnonzero((scores >= least) & (scores > -np.inf))
    order = np.argsort(-scores[among], kind="stable")[:count]
    return among[order]
