"""The same video in two lists that must not share one."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from pathlib import Path
from string import ascii_letters
from typing import NamedTuple

from vitaclip.data.prepare.annotations import Segment

_HEAD_BYTES = 1 << 16


class Leak(NamedTuple):
    """One video in two lists."""

    first: Segment
    second: Segment
    how: str
    """`same video` (by its name), `same file` (the same place on disk) or `same content`."""


def find_leaks(clips: Iterable[Segment], found: Mapping[Segment, Path]) -> list[Leak]:
    """All leaks, by the name of the video (found or not) and, for those found, by file and by content.

    Content is compared in full, among files of one size and one beginning that stand in different lists. Lists of
    different splits (`train1`, `test2`) may share a video.
    """
    # A YouTube id names a video; else its file and class do, because files of two classes may share a name.
    by_name = _across_lists([clips], lambda clip: (clip.key, "" if clip.times else clip.class_name))
    by_file = _across_lists([found], lambda clip: (found[clip].stat().st_dev, found[clip].stat().st_ino))
    by_content = _across_lists([found], lambda clip: found[clip].stat().st_size)
    by_content = _across_lists(by_content, lambda clip: _digest(found[clip], _HEAD_BYTES))
    by_content = _across_lists(by_content, lambda clip: _digest(found[clip]))
    leaks: dict[tuple[Segment, Segment], Leak] = {}
    for how, groups in (("same video", by_name), ("same file", by_file), ("same content", by_content)):
        for group in groups:
            first: dict[str, Segment] = {}  # of each list
            for clip in group:
                first.setdefault(clip.list_name, clip)
            for pair in combinations(first.values(), 2):
                leaks.setdefault(pair, Leak(*pair, how))
    return list(leaks.values())


def _across_lists(parts: Iterable[Iterable[Segment]], key: Callable[[Segment], object]) -> list[list[Segment]]:
    """Of each part, the clips of one split and one key, for each key that occurs in several lists."""
    groups: dict[object, list[Segment]] = defaultdict(list)
    for number, part in enumerate(parts):
        for clip in part:
            groups[number, clip.list_name.strip(ascii_letters), key(clip)].append(clip)
    return [group for group in groups.values() if len({clip.list_name for clip in group}) > 1]


def _digest(path: Path, limit: int = 0) -> bytes:
    """Of the first `limit` bytes, or of the whole file."""
    with path.open("rb") as file:
        return hashlib.blake2b(file.read(limit)).digest() if limit else hashlib.file_digest(file, "blake2b").digest()
