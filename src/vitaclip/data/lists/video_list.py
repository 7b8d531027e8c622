"""Which videos there are, and of which classes: list files and folders, each video checked before any is decoded."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vitaclip.data.labels import LabelReader, Labels
from vitaclip.data.lists.lines import content_lines, line_reader
from vitaclip.data.reading.container import VIDEO_SUFFIXES
from vitaclip.data.reading.frame_folder import is_frame_folder
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.reading.tar import to_video_path
from vitaclip.names import ClassIndex, check_class_names, compose, quoted
from vitaclip.strings import did_you_mean

_SHOWN_PROBLEMS = 10


@dataclass(frozen=True)
class VideoSample:
    """One video of a data set."""

    path: VideoPath
    """The file, or the member of a tar file."""
    labels: Labels
    """Indices of its classes."""
    source: str
    """Where it is listed, for messages: `list.csv:17`."""

    @property
    def label(self) -> int:
        """The class of a video that has one."""
        (label,) = self.labels
        return label


@dataclass(frozen=True)
class VideoList:
    """Videos and the names of their classes; label n is `class_names[n]`."""

    samples: tuple[VideoSample, ...]
    class_names: tuple[str, ...] = ()
    """Empty where only numbers are known."""
    note: str = ""
    """What the user should know of the labels; empty: nothing."""
    problems: tuple[str, ...] = ()
    """What is wrong with lines and videos that are not among the samples, a line each."""

    def checked(self, where: str, *, keep_absent: bool = False) -> "VideoList":
        """The list itself, if nothing is wrong with its lines and files.

        Args:
            where: what the list is, for the message.
            keep_absent: let videos stay whose file is missing or empty, unless all are: who reads them skips them.

        Raises:
            ValueError: with all that is wrong, the first ten problems shown.
        """
        absent = [problem for _, problem in file_problems(self.samples)]
        kept = keep_absent and len(absent) < len(self.samples)
        raise_problems([*self.problems, *([] if kept else absent)], where, self.note)
        return self


def read_list(
    file: str | Path,
    root: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    *,
    keep_absent: bool = False,
    check: bool = True,
) -> VideoList:
    """Read a list of videos, one a line: `path,label`, `path label`, or `path,label|label` for several labels.

    The label is what follows the last comma or blank, so paths may hold both; a path may also stand in "quotes".
    Labels are class numbers from 0 or, with `class_names`, names (which may hold blanks and commas: the longest name
    that ends the line is taken), spelled as `ClassIndex` allows. A video that is listed again has the labels of all its
    lines. Blank lines, lines that begin with `#` and a first line `path,label` are passed over. A first line that names
    further or other columns (`video_path,split,class`) makes it a csv file, one that begins with `{` JSON lines:
    {"path": "a.mp4", "label": 3}. A path may be a folder of numbered pictures; `folder frames label` is understood.
    `train-000.tar::key.mp4` is a video in a tar file.

    Args:
        file: the list, UTF-8.
        root: folder that paths are relative to; default: the list's own.
        class_names: names in the order of the classes; also sets the range that labels must lie in.
        keep_absent: see `VideoList.checked`.
        check: look at the files, and raise for all that is wrong. If not, the list tells its problems.

    Raises:
        ValueError: the list cannot be read or is empty; or, for all lines at once: no label, unknown class, label out
            of range, missing or empty file, a path listed twice with one label. Each line says
            `list.csv:17: what is wrong and what to do`.
    """
    file = Path(file)
    paths = _PathFinder(file.parent if root is None else Path(root))
    names = () if class_names is None else check_class_names(class_names, "class_names")
    labels, lines = LabelReader(names), list(content_lines(file))
    problems: list[str] = []
    rows: dict[str, VideoSample] = {}
    try:
        read, has_heading = line_reader(lines[0][1] if lines else "", labels)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    for source, line in lines[has_heading:]:
        try:
            path, own = read(line)
            row = VideoSample(paths.find(path), own, source)
        except ValueError as error:
            problems.append(f"{source}: {error}")
            continue
        place = os.path.normpath(str(row.path))
        earlier = rows.setdefault(place, row)
        if earlier is not row and not set(earlier.labels).isdisjoint(own):
            problems.append(f"{source}: {row.path} is listed already at {earlier.source}; remove one of the two")
        elif earlier is not row:
            rows[place] = replace(earlier, labels=tuple(sorted(earlier.labels + own)))
    if not rows and not problems:
        raise ValueError(f"{file}: lists no video; write one line 'path,label' for each")
    videos = VideoList(tuple(rows.values()), names, labels.note, tuple(problems))
    return videos.checked(f"{file}", keep_absent=keep_absent) if check else videos


def read_folder(root: str | Path, class_names: Sequence[str] | None = None, *, keep_absent: bool = False) -> VideoList:
    """Read and check a folder that holds one folder of videos for each class.

    A class is named like its folder, with blanks for underscores. Classes are numbered in the order of the sorted
    folder names, or in that of `class_names`, which may name more classes than there are folders, and spell them
    otherwise (see `ClassIndex`). Files without a video's ending and hidden ones are passed over.

    Raises:
        ValueError: no such folder, no class folder, one without videos, an empty (0 bytes) file, a folder
            that `class_names` does not name, or two folders of one class.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; give the folder that holds the class folders")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise ValueError(f"{root}: holds no class folders; make one for each class, named after it")
    found = [folder.name.replace("_", " ") for folder in folders]
    names = check_class_names(found if class_names is None else class_names, str(root))
    index = ClassIndex(names)
    problems: list[str] = []
    rows: list[VideoSample] = []
    folder_of: dict[int, Path] = {}
    for folder, name in zip(folders, found, strict=True):
        label = index.find(folder.name)
        videos = sorted(path for path in folder.iterdir() if is_video_name(path) or is_frame_folder(path))
        if label is None:
            hint = did_you_mean(name, names)
            problems.append(f"{folder}: no class is called {quoted(name)}{hint}; rename or remove the folder")
        elif folder_of.setdefault(label, folder) != folder:
            problems.append(f"{folder}: is class {names[label]!r} like {folder_of[label]}; move the videos into one")
        elif not videos:
            problems.append(f"{folder}: holds no video; add some or remove the folder")
        else:
            rows += [VideoSample(path, (label,), str(path)) for path in videos]
    return VideoList(tuple(rows), names, problems=tuple(problems)).checked(f"{root}", keep_absent=keep_absent)


def file_problems(rows: Sequence[VideoSample]) -> list[tuple[VideoSample, str]]:
    """What is wrong with the files of the rows, in the order of the rows."""
    problems = ((row, _file_problem(row.path)) for row in rows if isinstance(row.path, Path))
    return [(row, f"{row.source}: {row.path} {problem}") for row, problem in problems if problem]


def _file_problem(path: Path) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        if "\\" in str(path):
            return "is not there, and has backslashes, as Windows writes paths; write / and give the folder as the root"
        return f"cannot be read ({getattr(error, 'strerror', error)}); check the path and the root"
    if stat.S_ISDIR(status.st_mode):
        return "" if is_frame_folder(path) else "is a folder; name a video file, or a folder of numbered pictures"
    return "is empty (0 bytes); copy it again or remove the line" if status.st_size == 0 else ""


class _PathFinder:
    """Finds the file, folder or member of a tar file that a list's path means."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._entries: dict[Path, dict[str, str]] = {}  # composed names and names in the folders that were looked into

    def find(self, path: str) -> VideoPath:
        """What is there under the path as it is written, with `/` for each backslash, or with names in another Unicode
        form; or else under the path without a number behind it (`folder frames label`). If nothing is there at all,
        the path as it is written.
        """
        stem = path.rstrip("0123456789")
        counted = stem.rstrip(", \t") if stem != path else ""
        counted = counted if counted != stem else ""
        if (not counted and path.isascii() and "\\" not in path) or "\0" in path:
            return to_video_path(path, self._root)
        exact = [self._root / spelling for spelling in (path, path.replace("\\", "/"))]
        folders = [self._root / counted] if counted else []
        found = [place for place in (*exact, *map(self._as_on_disk, exact)) if os.path.exists(place)]  # noqa: PTH110
        found += [place for place in (*folders, *map(self._as_on_disk, folders)) if os.path.isdir(place)]  # noqa: PTH112
        return found[0] if found else to_video_path(path, self._root)

    def _as_on_disk(self, path: Path) -> Path:
        """The path with each name in the Unicode form that it has in its folder."""
        found = Path(path.anchor)
        for part in path.relative_to(path.anchor).parts:
            found /= part if part.isascii() else self._names_in(found).get(compose(part), part)
        return found

    def _names_in(self, folder: Path) -> dict[str, str]:
        if folder not in self._entries:
            try:
                self._entries[folder] = {compose(name): name for name in os.listdir(folder)}  # noqa: PTH208
            except OSError:  # who opens the file will say so
                self._entries[folder] = {}
        return self._entries[folder]


def raise_problems(problems: Sequence[str], where: str, note: str = "") -> None:
    """Raise ValueError with the first problems, if there are any, and a note that may explain them."""
    if problems:
        heading = f"{where}: {len(problems)} problem{'s' if len(problems) > 1 else ''} found"
        raise ValueError("\n".join([heading, *first_lines(problems), *([note] if note else [])]))


def first_lines(problems: Sequence[str]) -> list[str]:
    """The first problems, and how many more there are."""
    more = len(problems) - _SHOWN_PROBLEMS
    return [*problems[:_SHOWN_PROBLEMS], *([f"... and {more} more"] if more > 0 else [])]


def is_video_name(path: Path) -> bool:
    """Whether a file of a folder counts as a video: by its ending, and not hidden."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".") and path.is_file()
