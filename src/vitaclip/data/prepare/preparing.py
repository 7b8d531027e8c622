"""Annotations and files joined: lists, what is missing, what is there twice, what leaks."""

import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from vitaclip.data.prepare.annotations import Annotations, Segment, read_annotations
from vitaclip.data.prepare.finding import Match, VideoFiles
from vitaclip.data.prepare.leaks import Leak, find_leaks
from vitaclip.files import csv_text, write_text


class Counts(NamedTuple):
    """How a list, or a class, fared."""

    annotated: int
    found: int
    missing: int
    repeated: int
    """Annotated more than once in a list; the first was taken."""
    duplicate: int
    """Found, with further files that would have done as well."""


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

    @property
    def lists(self) -> dict[str, Counts]:
        """Counts of each list."""
        return self._count_by(lambda clip: clip.list_name)

    @property
    def class_counts(self) -> dict[str, Counts]:
        """Counts of each class, over all lists; classes without annotations are left out."""
        return self._count_by(lambda clip: clip.class_name)

    def _count_by(self, key: Callable[[Segment], str]) -> dict[str, Counts]:
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
    return Preparation(read, preparation.matches, repeated, tuple(find_leaks(clips, preparation.found)))


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
    missing = [(c.list_name, c.class_name, c.file_stem, match.reason) for c, match in matches.items() if not match.path]
    duplicates = dict.fromkeys((match.path, other) for match in matches.values() for other in match.others)
    repeated = [("listed twice", b.list_name, b.file_stem, a.class_name, b.class_name) for a, b in preparation.repeated]
    leaks = [(how, a.list_name, a.file_stem, b.list_name, b.file_stem) for a, b, how in preparation.leaks]
    counts = sorted((name, *each[:3]) for name, each in preparation.class_counts.items())
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
