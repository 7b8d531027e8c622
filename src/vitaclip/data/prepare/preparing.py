"""Annotations and files joined: lists, what is missing, what is listed twice, what leaks."""

import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from operator import attrgetter
from pathlib import Path
from string import ascii_letters
from typing import Literal, NamedTuple

from vitaclip.data.prepare.annotations import Annotations, Segment, read_annotations
from vitaclip.data.prepare.finding import VideoFiles
from vitaclip.files import csv_text, write_text


class Counts(NamedTuple):
    """How a list, or a class, fared."""

    annotated: int
    found: int
    missing: int
    repeated: int
    """Annotated more than once in a list; the first was taken."""


class Leak(NamedTuple):
    """One video in two lists."""

    first: Segment
    second: Segment
    how: str
    """`same video` (by its name) or `same file` (the same place on disk)."""


@dataclass(frozen=True)
class Preparation:
    """A data set's lists, before they are written."""

    annotations: Annotations
    matches: dict[Segment, Path | str]
    """The file of each clip, or why there is none."""
    repeated: tuple[tuple[Segment, Segment], ...]
    """(taken, left out): one clip annotated twice in a list."""

    @cached_property
    def leaks(self) -> list[Leak]:
        """One video in two lists, by its name (found or not) and, for those found, by file. Lists of different splits
        (`train1`, `test2`) may share a video."""
        # A YouTube id names a video; else its file and class do, because files of two classes may share a name.
        by_name = _across_lists(self.matches, lambda clip: (clip.key, "" if clip.times else clip.class_name))
        files = {clip: path.stat() for clip, path in self.found.items()}
        by_file = _across_lists(files, lambda clip: (files[clip].st_dev, files[clip].st_ino))
        how = dict.fromkeys(by_file, "same file") | dict.fromkeys(by_name, "same video")
        return [Leak(*pair, how[pair]) for pair in how]

    @cached_property
    def found(self) -> dict[Segment, Path]:
        """The file of each clip that has one."""
        return {clip: match for clip, match in self.matches.items() if isinstance(match, Path)}

    def count_by(self, field: Literal["list_name", "class_name"]) -> dict[str, Counts]:
        """Counts of each list, or of each class over all lists; classes without annotations are left out."""
        key = attrgetter(field)
        wanted, found = Counter(map(key, self.matches)), Counter(map(key, self.found))
        repeated = Counter(key(clip) for _, clip in self.repeated)
        return {
            name: Counts(n + repeated[name], found[name], n - found[name], repeated[name]) for name, n in wanted.items()
        }


def _across_lists(clips: Iterable[Segment], key: Callable[[Segment], object]) -> list[tuple[Segment, Segment]]:
    """Pairs of clips of one key in two lists of one split, the first of each list."""
    groups: dict[object, dict[str, Segment]] = defaultdict(dict)
    for clip in clips:
        split = clip.list_name.strip(ascii_letters)
        groups[split, key(clip)].setdefault(clip.list_name, clip)
    return [pair for group in groups.values() for pair in combinations(group.values(), 2)]


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
    matches = {clip: files.match(clip, of_video[clip.key]) for clip in clips}
    preparation = Preparation(read, matches, repeated)
    if not preparation.found:
        there = f"{len(files.paths)} videos lie there, such as {files.paths[0]}" if files.paths else "no video at all"
        raise ValueError(
            f"{root}: none of the {len(clips)} annotated clips was found, such as {clips[0].file_stem}; {there};"
            " check --root and --annotations"
        )
    return preparation


def _once_each(clips: Iterable[Segment]) -> tuple[list[Segment], tuple[tuple[Segment, Segment], ...]]:
    """The clips without those that stand in one list already, and what was left out for which."""
    first: dict[tuple[object, ...], Segment] = {}
    # Files of two classes may share a name where nothing but the folder parts them.
    pairs = [(first.setdefault((c.list_name, c.key, c.times or c.class_name), c), c) for c in clips]
    return list(first.values()), tuple((taken, clip) for taken, clip in pairs if taken is not clip)


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
    missing = [
        (c.list_name, c.class_name, c.file_stem, match) for c, match in matches.items() if isinstance(match, str)
    ]
    repeated = [(b.list_name, b.file_stem, a.class_name, b.class_name) for a, b in preparation.repeated]
    leaks = [(how, a.list_name, a.file_stem, b.list_name, b.file_stem) for a, b, how in preparation.leaks]
    counts = sorted((name, *each[:3]) for name, each in preparation.count_by("class_name").items())
    return {
        **{f"{name}.csv": csv_text(rows) for name, rows in lists.items()},
        "classes.txt": "".join(f"{prompt}\n" for prompt in classes.prompts),
        "missing.txt": _tabbed(missing),
        "duplicates.txt": _tabbed(repeated),
        "leaks.txt": _tabbed(leaks),
        "counts.csv": csv_text([("class", "annotated", "found", "missing"), *counts]),
    }


def _tabbed(rows: Iterable[Sequence[object]]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)
