"""Which file is which clip: a folder is walked once, then each clip looks for its file."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitaclip.data.prepare.annotations import Segment, Times
from vitaclip.data.reading.container import VIDEO_SUFFIXES
from vitaclip.names import ClassIndex

_PARTIAL_SUFFIXES = frozenset({".part", ".ytdl", ".crdownload", ".download", ".tmp", ".aria2"})
_TIMED = re.compile(r"(?P<key>.+)_(?P<start>[0-9]{1,6})_(?P<end>[0-9]{1,6})")
_YOUTUBE_ID_LENGTH = 11


@dataclass(frozen=True)
class FoundFile:
    """A video file below the root."""

    path: Path
    class_name: str | None
    """The class whose folder it lies in, if any."""
    times: Times | None
    """First and last second, where its name says them."""
    whole: bool
    """Not empty, and not the rest of a download that broke off."""


@dataclass(frozen=True)
class Match:
    """What was found for a clip."""

    path: Path | None
    reason: str = ""
    """Why there is none."""
    others: tuple[Path, ...] = ()
    """Other files that would have done as well."""


class VideoFiles:
    """The video files below a folder, by the clip that their names say they are."""

    def __init__(self, root: Path, class_names: Sequence[str], *, timed: bool) -> None:
        """Args:
        root: searched at any depth, links followed.
        class_names: folders are joined to these by name.
        timed: names are YouTube ids, with or without times; else any names, capitals not looked at.

        Raises:
            ValueError: no such folder, or two folders side by side whose class differs in capitals alone.
        """
        if not root.is_dir():
            what = "is a file, not a folder" if root.exists() else "does not exist"
            raise ValueError(f"{root}: {what}; --root takes the folder that the videos lie in, at any depth")
        self.root, self.count = root, 0
        self._names, self._index, self._timed = tuple(class_names), ClassIndex(class_names), timed
        self._files: dict[str, list[FoundFile]] = defaultdict(list)
        for file in _walk(root):
            self._add(file)

    def match(self, clip: Segment, of_video: Sequence[Segment]) -> Match:
        """The file of a clip, one of the clips `of_video`. A file in the folder of another class is never taken."""
        files = self._files.get(self._fold(clip.key), [])
        timed = [file for file in files if file.times is not None and file.times == clip.times]
        untimed = [file for file in files if file.times is None]
        candidates = timed or untimed
        if not candidates:
            return Match(None, f"only with other times: {files[0].path}" if files else "not found")
        fitting = [file for file in candidates if file.class_name in (None, clip.class_name)]
        if not fitting:
            return Match(None, f"lies in the folder of {candidates[0].class_name!r}: {candidates[0].path}")
        whole = [file for file in fitting if file.whole]
        if not whole:
            return Match(None, f"download broke off: {fitting[0].path}")
        # The same clip in another list is not another clip.
        others = [each for each in of_video if (each.times, each.class_name) != (clip.times, clip.class_name)]
        if clip.times is not None and not timed and others:
            of_class = {other.class_name for other in others}
            whole = [file for file in whole if file.class_name and clip.class_name not in of_class]
            if not whole:
                return Match(None, f"the name lacks the times, and the video has several clips: {untimed[0].path}")
        part = clip.list_name.split("_")[0]
        # The best is in the folder of its class, then in that of its part of the data set.
        best, *copies = sorted(whole, key=lambda f: (f.class_name is None, part not in f.path.parts, f.path))
        return Match(best.path, others=tuple(file.path for file in copies))

    def examples(self) -> list[Path]:
        """Up to three of the files, for messages."""
        return [file.path for files in list(self._files.values())[:3] for file in files[:1]]

    def _add(self, path: Path) -> None:
        name, whole = path.name, True
        while Path(name).suffix.lower() in _PARTIAL_SUFFIXES:
            name, whole = name[: name.rindex(".")], False
        stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a name, not a path
        if suffix.lower() not in VIDEO_SUFFIXES or name.startswith("."):
            return
        self.count += 1
        key, times = self._read_name(stem)
        whole = whole and path.stat().st_size > 0
        self._files[key].append(FoundFile(path, self._class_of(path), times, whole))

    def _read_name(self, stem: str) -> tuple[str, Times | None]:
        if not self._timed:
            return self._fold(stem), None
        match = _TIMED.fullmatch(stem)
        # An id itself may end like times do.
        if match is None or len(stem) <= _YOUTUBE_ID_LENGTH:
            return stem, None
        return match["key"], (int(match["start"]), int(match["end"]))

    def _fold(self, name: str) -> str:
        # Capitals differ between lists and files (HandstandPushups/v_HandStandPushups_g01_c01.avi), but tell ids apart.
        return name if self._timed else name.casefold()

    def _class_of(self, path: Path) -> str | None:
        """The class of the nearest folder that is called like one."""
        for folder in path.relative_to(self.root).parts[-2::-1]:
            number = self._index.find(folder)
            if number is not None:
                return self._names[number]
        return None


def _walk(root: Path) -> Iterator[Path]:
    """All files, in order of their names; a folder that is linked in twice is walked once."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        _refuse_same_but_for_capitals(Path(folder), folders)
        yield from (Path(folder) / file for file in sorted(files))


def _refuse_same_but_for_capitals(folder: Path, names: Sequence[str]) -> None:
    spelling: dict[str, str] = {}
    for name in names:
        earlier = spelling.setdefault(name.casefold(), name)
        if earlier != name:
            raise ValueError(f"{folder}: folders {earlier!r} and {name!r} differ in capitals alone; make them one")
