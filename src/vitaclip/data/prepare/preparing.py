"""Annotations and files joined: lists, what is missing, what is there twice, what leaks."""

import hashlib
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter
from pathlib import Path
from string import ascii_letters
from typing import Literal, NamedTuple

from vitaclip.data.prepare.annotations import Annotations, Segment, read_annotations
from vitaclip.data.prepare.finding import Match, VideoFiles
from vitaclip.files import csv_text, write_text

_HEAD_BYTES = 1 << 16


class Counts(NamedTuple):
    """How a list, or a class, fared."""

    annotated: int
    found: int
    missing: int
    repeated: int
    """Annotated more than once in a list; the first was taken."""
    duplicate: int
    """Found, with further files that would have done as well."""


class Leak(NamedTuple):
    """One video in two lists."""

    first: Segment
    second: Segment
    how: str
    """`same video` (by its name), `same file` (the same place on disk) or `same content`."""


@dataclass(frozen=True)
class Preparation:
    """A data set's lists, before they are written."""

    annotations: Annotations
    matches: dict[Segment, Match]
    """What was found for each clip."""
    repeated: tuple[tuple[Segment, Segment], ...]
    """(taken, left out): one clip annotated twice in a list."""
    leaks: tuple[Leak, ...]

    @property
    def found(self) -> dict[Segment, Path]:
        """The file of each clip that has one."""
        return {clip: match.path for clip, match in self.matches.items() if match.path is not None}

    def count_by(self, field: Literal["list_name", "class_name"]) -> dict[str, Counts]:
        """Counts of each list, or of each class over all lists; classes without annotations are left out."""
        key = attrgetter(field)
        wanted, found = Counter(map(key, self.matches)), Counter(map(key, self.found))
        repeated = Counter(key(clip) for _, clip in self.repeated)
        duplicate = Counter(key(clip) for clip, match in self.matches.items() if match.others)
        return {
            name: Counts(n + repeated[name], found[name], n - found[name], repeated[name], duplicate[name])
            for name, n in wanted.items()
        }


def prepare_dataset(dataset: str, root: str | Path, annotations: str | Path) -> Preparation:
    """Joins the official annotations of a data set to the files below a folder. Nothing is written.

    Args:
        dataset: one of `DATASETS`.
        root: folder of the videos, searched at any depth.
        annotations: folder of the official annotation files; for Kinetics also a single csv file.

    Raises:
        ValueError: a wrong folder, annotations that cannot be read, a class the data set does not have, or no
            video found at all.
    """
    read = read_annotations(dataset, Path(annotations))
    files = VideoFiles(Path(root), read.classes.names, timed=any(clip.times for clip in read.clips))
    clips, repeated = _once_each(read.clips)
    of_video: dict[str, list[Segment]] = defaultdict(list)
    for clip in clips:
        of_video[clip.key].append(clip)
    preparation = Preparation(read, {clip: files.match(clip, of_video[clip.key]) for clip in clips}, repeated, ())
    if not preparation.found:
        there = f"{len(files.paths)} videos lie there, such as {files.paths[0]}" if files.paths else "no video at all"
        raise ValueError(
            f"{root}: none of the {len(clips)} annotated clips was found, such as {clips[0].file_stem}; {there};"
            " check --root and --annotations"
        )
    return Preparation(read, preparation.matches, repeated, tuple(_find_leaks(clips, preparation.found)))


def _once_each(clips: Iterable[Segment]) -> tuple[list[Segment], tuple[tuple[Segment, Segment], ...]]:
    """The clips without those that stand in one list already, and what was left out for which."""
    first: dict[tuple[object, ...], Segment] = {}
    # Files of two classes may share a name where nothing but the folder parts them.
    pairs = [(first.setdefault((c.list_name, c.key, c.times or c.class_name), c), c) for c in clips]
    return list(first.values()), tuple((taken, clip) for taken, clip in pairs if taken is not clip)


def _find_leaks(clips: Iterable[Segment], found: Mapping[Segment, Path]) -> list[Leak]:
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


def write_preparation(preparation: Preparation, out: str | Path) -> None:
    """Writes a folder: a list `<name>.csv` each (full path, class as texts word it), `classes.txt`, `missing.txt`,
    `duplicates.txt`, `leaks.txt` and `counts.csv` (per class).

    The folder appears complete or not at all.

    Raises:
        ValueError: the folder exists and is not empty.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out}: exists already; remove it or name another --out")
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        for name, text in _files(preparation).items():
            write_text(temporary / name, text)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # gone already if all went well


def _files(preparation: Preparation) -> dict[str, str]:
    """The texts of the folder."""
    classes, matches = preparation.annotations.classes, preparation.matches
    wording = dict(zip(classes.names, classes.prompts, strict=True))
    lists: dict[str, list[tuple[object, ...]]] = defaultdict(list)
    for clip, path in preparation.found.items():
        lists[clip.list_name].append((path.absolute(), wording[clip.class_name]))
    missing = [(c.list_name, c.class_name, c.file_stem, match.reason) for c, match in matches.items() if not match.path]
    duplicates = dict.fromkeys((match.path, other) for match in matches.values() for other in match.others)
    repeated = [("listed twice", b.list_name, b.file_stem, a.class_name, b.class_name) for a, b in preparation.repeated]
    leaks = [(how, a.list_name, a.file_stem, b.list_name, b.file_stem) for a, b, how in preparation.leaks]
    counts = sorted((name, *each[:3]) for name, each in preparation.count_by("class_name").items())
    return {
        **{f"{name}.csv": csv_text(rows) for name, rows in lists.items()},
        "classes.txt": "".join(f"{prompt}\n" for prompt in classes.prompts),
        "missing.txt": _tabbed(missing),
        "duplicates.txt": _tabbed([*duplicates, *repeated]),
        "leaks.txt": _tabbed(leaks),
        "counts.csv": csv_text([("class", "annotated", "found", "missing"), *counts]),
    }


def _tabbed(rows: Iterable[Sequence[object]]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)
