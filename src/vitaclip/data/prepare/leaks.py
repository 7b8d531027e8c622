"""The same video in two lists that must not share one."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vitaclip.data.prepare.annotations import Annotations, Segment

_HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class Leak:
    """One video in two lists."""

    first: Segment
    second: Segment
    how: str
    """`same video` (by its name), `same file` (the same place on disk) or `same content`."""


def find_leaks(annotations: Annotations, found: Mapping[Segment, Path]) -> list[Leak]:
    """All leaks, by the name of the video (found or not) and, for those found, by file and by content.

    Content is compared in full, among files of one size and one beginning that stand in different lists.
    """
    leaks: dict[tuple[Segment, Segment], Leak] = {}
    for group in annotations.disjoint:
        clips = [clip for clip in annotations.clips if clip.list_name in group]
        here = [clip for clip in clips if clip in found]
        # A YouTube id names a video; else its file and class do, because files of two classes may share a name.
        by_name = _across_lists(clips, lambda clip: (clip.key, "" if clip.times else clip.class_name))
        by_file = _across_lists(here, lambda clip: _inode(found[clip]))
        by_content = _across_lists(here, lambda clip: found[clip].stat().st_size)
        for key in (lambda clip: _digest(found[clip], _HEAD_BYTES), lambda clip: _digest(found[clip])):
            by_content = [part for same in by_content for part in _across_lists(same, key)]
        for how, groups in (("same video", by_name), ("same file", by_file), ("same content", by_content)):
            for first, second in (pair for same in groups for pair in _pairs(same)):
                leaks.setdefault((first, second), Leak(first, second, how))
    return list(leaks.values())


def _across_lists(clips: Iterable[Segment], key: Callable[[Segment], object]) -> list[list[Segment]]:
    """Clips of one key, for each key that occurs in several lists."""
    groups: dict[object, list[Segment]] = defaultdict(list)
    for clip in clips:
        groups[key(clip)].append(clip)
    return [group for group in groups.values() if len({clip.list_name for clip in group}) > 1]


def _pairs(clips: Iterable[Segment]) -> Iterator[tuple[Segment, Segment]]:
    """The first clip of each list with the first of every other list."""
    first: dict[str, Segment] = {}
    for clip in clips:
        first.setdefault(clip.list_name, clip)
    firsts = list(first.values())
    return ((one, two) for i, one in enumerate(firsts) for two in firsts[i + 1 :])


def _digest(path: Path, limit: int = 0) -> bytes:
    """Of the first `limit` bytes, or of the whole file."""
    with path.open("rb") as file:
        return hashlib.blake2b(file.read(limit)).digest() if limit else hashlib.file_digest(file, "blake2b").digest()


def _inode(path: Path) -> tuple[int, int]:
    """What hard and symbolic links share."""
    status = os.stat(path)  # noqa: PTH116
    return status.st_dev, status.st_ino
