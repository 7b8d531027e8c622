"""What a search found, and among which videos.

Axes: n candidates.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from fnmatch import fnmatch
from typing import Any

import numpy as np

from vitaclip.search.rows import FileEntry, Rows
from vitaclip.settings import Config, NonNegativeFloat, require

_ALIKE_BITS, _ALIKE_COSINE = 6.0, 0.95
"""Windows of two videos show nearly the same if their hashes differ in so few bits, in the mean of three pictures of 64
bits, and their vectors are so near: classes that a model was trained on have nearly equal vectors anyway."""
Places = Mapping[str, Sequence[tuple[str, FileEntry]]]
"""The files of each video."""


@dataclass(frozen=True)
class Hit:
    """A moment that was found."""

    score: float
    """Cosine of the vectors of query and window."""
    path: str
    start_s: float
    end_s: float
    labels: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()
    """Files with the same video, or with nearly the same pictures."""

    def __str__(self) -> str:
        more = f" (+{len(self.alike)} alike)" if self.alike else ""
        return f"[{self.score:.2f}] {self.path} @ {clock(self.start_s)}-{clock(np.ceil(self.end_s))}{more}"


@dataclass(frozen=True)
class Hits:
    """The moments that are most like a query, best first."""

    query: str
    hits: tuple[Hit, ...]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class SearchFilter(Config):
    """Which videos are searched."""

    path: str = ""
    """Pattern of the whole path, such as "*/kitchen/*.mp4". Empty: any."""
    label: str = ""
    """Label from the list that the video was indexed by. Empty: any."""
    since: str = ""
    """First day on which its file was written, such as 2026-01-31. Empty: any."""
    until: str = ""
    """Last such day. Empty: any."""
    longer_s: NonNegativeFloat = 0.0
    """Least seconds of the video."""
    shorter_s: NonNegativeFloat = 0.0
    """Most seconds of the video. 0: any."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("since", "until"):
            try:
                date.fromisoformat(getattr(self, name) or "2026-01-01")
            except ValueError:
                require(False, self, name, "write a day as 2026-01-31")

    def takes(self, path: str, entry: FileEntry, seconds: float) -> bool:
        """Whether a video fits."""
        day = str(date.fromtimestamp(int(entry.state[1]) / 1e9)) if entry.state else ""
        return (
            fnmatch(path, self.path or "*")
            and (not self.label or self.label in entry.labels)
            and self.since <= day <= (self.until or "9999")
            and self.longer_s <= seconds <= (self.shorter_s or math.inf)
        )


def fold(scores: np.ndarray, rows: Rows, places: Places, top_k: int) -> tuple[Hit, ...]:
    """The best of some candidates, given best first: of windows that overlap one stands for all, and of nearly the same
    pictures one, with the files of the others."""
    free, hits = np.ones(len(rows), bool), list[Hit]()
    while len(hits) < top_k and free.any():
        best = int(free.argmax())
        same = np.flatnonzero(free & _same(rows, best))
        free[[best, *same]] = False
        (path, *others) = dict.fromkeys(path for n in (best, *same) for path, _ in places[rows.ids[rows.videos[n]]])
        labels = places[rows.ids[rows.videos[best]]][0][1].labels
        start, end = rows.times[best].tolist()
        hits.append(Hit(float(scores[best]), path, start, end, labels, tuple(others)))
    return tuple(hits)


def _same(rows: Rows, best: int) -> np.ndarray:
    """Which windows one stands for: of its video those that overlap it, since there a picture may well come again; of
    other videos those that show nearly the same."""
    (start, end), own = rows.times[best], rows.videos == rows.videos[best]
    overlap = (rows.times[:, 0] < end) & (start < rows.times[:, 1])
    bits = np.bitwise_count((rows.looks ^ rows.looks[best]).view(np.uint64)).mean(axis=1)
    near = (bits <= _ALIKE_BITS) & (rows.vectors @ rows.vectors[best] >= _ALIKE_COSINE)
    return np.where(own, overlap, near)


def clock(seconds: float) -> str:
    """Whole seconds as a player shows them.

    >>> clock(135.4), clock(3675)
    ('02:15', '1:01:15')
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes:02}:{rest:02}"
