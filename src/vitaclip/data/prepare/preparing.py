"""Annotations and files joined: lists, what is missing, what is there twice, what leaks."""

import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitaclip.catalog import load_dataset_classes
from vitaclip.data.prepare.annotations import DATASETS, Annotations, Segment
from vitaclip.data.prepare.finding import Match, VideoFiles
from vitaclip.data.prepare.leaks import Leak, find_leaks
from vitaclip.files import csv_text, write_text


@dataclass(frozen=True)
class ListCount:
    """How a list, or a class, fared."""

    annotated: int
    found: int
    repeated: int
    """Annotated more than once in a list; the first was taken."""
    duplicate: int
    """Found, with further files that would have done as well."""

    @property
    def missing(self) -> int:
        """Annotated and not found."""
        return self.annotated - self.found - self.repeated


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

    def count_by(self, key: Callable[[Segment], str]) -> dict[str, ListCount]:
        """Counts of the clips, sorted apart by `key`."""
        skipped = Counter(key(clip) for _, clip in self.repeated)
        annotated = Counter(map(key, self.matches)) + skipped
        found = Counter(map(key, self.found))
        duplicate = Counter(key(clip) for clip, match in self.matches.items() if match.others)
        return {name: ListCount(n, found[name], skipped[name], duplicate[name]) for name, n in annotated.items()}

    @property
    def lists(self) -> dict[str, ListCount]:
        """Counts of each list."""
        return self.count_by(lambda clip: clip.list_name)

    @property
    def class_counts(self) -> dict[str, ListCount]:
        """Counts of each class, over all lists; classes without annotations are left out."""
        return self.count_by(lambda clip: clip.class_name)

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """Classes of the data set of which no clip was found."""
        present = {clip.class_name for clip in self.found}
        return tuple(name for name in self.annotations.classes.names if name not in present)


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
    if dataset not in DATASETS:
        raise ValueError(f"{dataset!r} is no data set that can be prepared; there is {', '.join(DATASETS)}")
    classes = load_dataset_classes(dataset)
    read = DATASETS[dataset](Path(annotations), classes)
    files = VideoFiles(Path(root), classes.names, timed=any(clip.times for clip in read.clips))
    clips, repeated = _once_each(read.clips)
    of_video: dict[str, list[Segment]] = defaultdict(list)
    for clip in clips:
        of_video[clip.key].append(clip)
    matches = {clip: files.match(clip, of_video[clip.key]) for clip in clips}
    preparation = Preparation(read, matches, repeated, ())
    if not preparation.found:
        there = f"{files.count} videos lie there, such as {files.examples()[0]}" if files.count else "no video at all"
        raise ValueError(
            f"{root}: none of the {len(clips)} annotated clips was found, such as {clips[0].file_stem}; {there};"
            " check --root and --annotations"
        )
    return Preparation(read, matches, repeated, tuple(find_leaks(read, preparation.found)))


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


def _once_each(clips: Sequence[Segment]) -> tuple[list[Segment], tuple[tuple[Segment, Segment], ...]]:
    """The clips without those that stand in one list already, and what was left out for which."""
    first: dict[tuple[object, ...], Segment] = {}
    skipped: list[tuple[Segment, Segment]] = []
    for clip in clips:
        # Files of two classes may share a name where nothing but the folder parts them.
        identity = (clip.list_name, clip.key, clip.times or clip.class_name)
        if identity in first:
            skipped.append((first[identity], clip))
        else:
            first[identity] = clip
    return list(first.values()), tuple(skipped)


def _files(preparation: Preparation) -> dict[str, str]:
    """The texts of the folder."""
    classes = preparation.annotations.classes
    wording = dict(zip(classes.names, classes.prompts, strict=True))
    lists: dict[str, list[tuple[object, ...]]] = {name: [] for name in preparation.lists}
    for clip, path in preparation.found.items():
        lists[clip.list_name].append((path.absolute(), wording[clip.class_name]))
    missing = [(clip, match) for clip, match in preparation.matches.items() if match.path is None]
    duplicate = [(match.path, other) for match in preparation.matches.values() for other in match.others]
    counts = [(name, c.annotated, c.found, c.missing) for name, c in preparation.class_counts.items()]
    texts = {f"{name}.csv": csv_text(rows) for name, rows in lists.items() if rows}
    return texts | {
        "classes.txt": "".join(f"{prompt}\n" for prompt in classes.prompts),
        "missing.txt": _tabbed((c.list_name, c.class_name, c.file_stem, match.reason) for c, match in missing),
        "duplicates.txt": _tabbed(dict.fromkeys(duplicate))
        + _tabbed(
            ("listed twice", b.list_name, b.file_stem, a.class_name, b.class_name) for a, b in preparation.repeated
        ),
        "leaks.txt": _tabbed(
            (leak.how, leak.first.list_name, leak.first.file_stem, leak.second.list_name, leak.second.file_stem)
            for leak in preparation.leaks
        ),
        "counts.csv": csv_text([("class", "annotated", "found", "missing"), *sorted(counts)]),
    }


def _tabbed(rows: Iterable[Sequence[object]]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows)
