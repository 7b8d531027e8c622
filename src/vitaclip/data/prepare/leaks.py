"""The same video in two lists that must not share one."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitaclip.data.prepare.annotations import Annotations, Clip

_CHUNK = 1 << 20
_HEAD = 1 << 16


@dataclass(frozen=True)
class Leak:
    """One video in two lists."""

    first: Clip
    second: Clip
    how: str
    """`same video` (by its name), `same file` (the same place on disk) or `same content`."""


def find_leaks(annotations: Annotations, found: Mapping[Clip, Path]) -> list[Leak]:
    """All leaks, by the name of the video (found or not) and, for those found, by file and by content.

    Content is compared in full, among files of one size that stand in different lists.
    """
    leaks: dict[tuple[Clip, Clip], Leak] = {}
    for group in annotations.disjoint:
        clips = [clip for clip in annotations.clips if clip.list_name in group]
        here = {clip: found[clip] for clip in clips if clip in found}
        for how, keyed in (
            ("same video", ((_video(clip), clip) for clip in clips)),
            ("same file", ((_place(path), clip) for clip, path in here.items())),
            ("same content", _by_content(here)),
        ):
            for first, second in _across_lists(keyed):
                leaks.setdefault((first, second), Leak(first, second, how))
    return list(leaks.values())


def _video(clip: Clip) -> tuple[str, str]:
    """What names a video: its YouTube id, or its file and class (files of two classes may share a name)."""
    return clip.key, "" if clip.times else clip.class_name


def _across_lists(keyed: Iterable[tuple[object, Clip]]) -> Iterator[tuple[Clip, Clip]]:
    """Pairs of one key: the first clip of each list with the first of every other list."""
    groups: dict[object, dict[str, Clip]] = defaultdict(dict)
    for key, clip in keyed:
        groups[key].setdefault(clip.list_name, clip)
    for group in groups.values():
        clips = list(group.values())
        yield from ((first, second) for i, first in enumerate(clips) for second in clips[i + 1 :])


def _by_content(found: Mapping[Clip, Path]) -> Iterator[tuple[object, Clip]]:
    """(digest, clip), read only where the size, and then the beginning, occurs in several lists."""
    clips: Sequence[Clip] = list(found)
    sizes = _kept([(found[clip].stat().st_size, clip) for clip in clips])
    heads = _kept([((size, _digest(found[clip], _HEAD)), clip) for size, clip in sizes])
    return iter([(_digest(found[clip]), clip) for _, clip in heads])


def _kept(keyed: Sequence[tuple[object, Clip]]) -> list[tuple[object, Clip]]:
    """Those whose key occurs in several lists."""
    lists: dict[object, set[str]] = defaultdict(set)
    for key, clip in keyed:
        lists[key].add(clip.list_name)
    return [(key, clip) for key, clip in keyed if len(lists[key]) > 1]


def _digest(path: Path, limit: int | None = None) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        if limit is not None:
            digest.update(file.read(limit))
            return digest.digest()
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()


def _place(path: Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 - what hard and symbolic links share
    return status.st_dev, status.st_ino
