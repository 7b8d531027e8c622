"""Which file is which clip: a folder is walked once, then each clip looks for its file."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vitaclip.data.prepare.annotations import Segment, Times
from vitaclip.data.reading.container import VIDEO_SUFFIXES
from vitaclip.names import ClassIndex

_TIMED = re.compile(r"(?P<key>.+)_(?P<start>[0-9]{1,6})_(?P<end>[0-9]{1,6})")
_YOUTUBE_ID_LENGTH = 11


class FoundFile(NamedTuple):
    """A video file below the root."""

    path: Path
    class_name: str | None
    """The class whose folder it lies in, if any."""
    times: Times | None
    """First and last second, where its name says them."""


class VideoFiles:
    """The video files below a folder, by the clip that their names say they are. Empty ones do not count."""

    def __init__(self, root: Path, class_names: Sequence[str], *, timed: bool) -> None:
        """Args:
        root: searched at any depth, links followed.
        class_names: folders are joined to these by name.
        timed: names are YouTube ids, with or without times; else any names, capitals not looked at.

        Raises:
            ValueError: no such folder, or two folders side by side whose names differ in capitals alone.
        """
        if not root.is_dir():
            what = "is a file, not a folder" if root.exists() else "does not exist"
            raise ValueError(f"{root}: {what}; --root takes the folder that the videos lie in, at any depth")
        self._root, self._index, self._timed = root, ClassIndex(class_names), timed
        self._files: dict[str, list[FoundFile]] = defaultdict(list)
        for file in _walk(root):
            self._add(file)

    @property
    def paths(self) -> list[Path]:
        """All video files."""
        return [file.path for files in self._files.values() for file in files]

    def match(self, clip: Segment, of_video: Sequence[Segment]) -> Path | str:
        """The file of a clip, one of the clips `of_video`, or why there is none. A file in the folder of another class
        is never taken."""
        files = self._files.get(self._fold(clip.key), [])
        timed = [file for file in files if file.times is not None and file.times == clip.times]
        candidates = timed or [file for file in files if file.times is None]
        if not candidates:
            return f"only with other times: {files[0].path}" if files else "not found"
        fitting = [file for file in candidates if file.class_name in (None, clip.class_name)]
        if not fitting:
            return f"lies in the folder of {candidates[0].class_name!r}: {candidates[0].path}"
        # The same clip in another list is not another clip.
        others = [each for each in of_video if (each.times, each.class_name) != (clip.times, clip.class_name)]
        if clip.times is not None and not timed and others:
            alone = all(other.class_name != clip.class_name for other in others)
            fitting = [file for file in fitting if file.class_name and alone]
            if not fitting:
                return f"the name lacks the times, and the video has several clips: {candidates[0].path}"
        # The best is in the folder of its class, then in that of its part of the data set.
        return min(fitting, key=lambda f: (f.class_name is None, clip.list_name not in f.path.parts, f.path)).path

    def _add(self, path: Path) -> None:
        if path.suffix.lower() not in VIDEO_SUFFIXES or path.name.startswith(".") or path.stat().st_size == 0:
            return
        may_have_times = self._timed and len(path.stem) > _YOUTUBE_ID_LENGTH  # ids may end like times
        match = _TIMED.fullmatch(path.stem) if may_have_times else None
        times = (int(match["start"]), int(match["end"])) if match else None
        key = match["key"] if match else self._fold(path.stem)
        self._files[key].append(FoundFile(path, self._class_of(path), times))

    def _fold(self, name: str) -> str:
        # Capitals differ between lists and files (HandstandPushups/v_HandStandPushups_g01_c01.avi), but tell ids apart.
        return name if self._timed else name.casefold()

    def _class_of(self, path: Path) -> str | None:
        """The class of the nearest folder that is called like one."""
        found = (self._index.find(folder) for folder in path.relative_to(self._root).parts[-2::-1])
        return next((self._index.names[number] for number in found if number is not None), None)


def _walk(root: Path) -> Iterator[Path]:
    """All files, in order of their names; a folder that is linked in twice is walked once."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        spelling: dict[str, str] = {}
        for name in folders:
            earlier = spelling.setdefault(name.casefold(), name)
            if earlier != name:
                raise ValueError(f"{folder}: folders {earlier!r} and {name!r} differ in capitals alone; make them one")
        if real not in seen:
            yield from (Path(folder) / file for file in sorted(files))
        seen.add(real)
