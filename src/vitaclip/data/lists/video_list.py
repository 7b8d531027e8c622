"""The videos of a data set and their classes, read from a list file; and which files of a folder are videos.

A list file has a video a line, in one of four forms: `path label`, split at the last blank; `path,label` as csv; csv
with a heading that names the columns; JSON lines. Several labels of a video have `|` between them, or the video is
listed once for each.
"""

import codecs
import csv
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vitaclip.data.labels import LABEL_COLUMNS, LabelReader, Labels, first_value, label_text, parse_json
from vitaclip.data.reading.container import VIDEO_SUFFIXES
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.reading.source import is_frame_folder, is_picture_name
from vitaclip.data.reading.tar import to_video_path
from vitaclip.names import check_class_names, quoted
from vitaclip.strings import counted, first_lines

_PATH_COLUMNS = ("path", "video_path", "video", "file", "filename")
"""Names of the path in a heading or in JSON; the first that is there counts."""


@dataclass(frozen=True)
class VideoSample:
    """One video of a data set."""

    path: VideoPath
    """The file, or the member of a tar file."""
    labels: Labels
    """Indices of its classes."""
    source: str
    """Where it is listed, for messages: `list.csv:17`."""

    def located(self, message: str) -> str:
        """A message that begins with the path, behind the place in the list, unless that is the path."""
        return message if self.source == str(self.path) else f"{self.source}: {message}"

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
    """What is wrong with lines and videos that are not among the samples, a line each. See `checked`."""
    left_out: tuple[str, ...] = ()
    """What is wrong with files that are passed over, a line each: empty ones, and links to nothing."""

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
        if problems := [*self.problems, *([] if kept else absent)]:
            heading, note = f"{where}: {counted(len(problems), 'problem')} found", [self.note] if self.note else []
            raise ValueError("\n".join([heading, *first_lines(problems), *note]))
        return self

    def without_absent(self) -> "VideoList":
        """The list without videos whose file is missing or empty, which become `left_out`."""
        absent = dict(file_problems(self.samples))
        kept = tuple(sample for sample in self.samples if sample not in absent)
        return replace(self, samples=kept, left_out=tuple(absent.values()))

    def counts(self) -> list[int]:
        """Number of videos of each class."""
        found = Counter(label for sample in self.samples for label in sample.labels)
        return [found[label] for label in range(len(self.class_names))]

    def summary(self) -> str:
        """How many videos and classes there are, and how many videos the smallest and the largest class have."""
        counts, names = self.counts(), self.class_names
        least, most = (f"{pick(counts)} ({names[counts.index(pick(counts))]!r})" for pick in (min, max))
        spread = f"{counts[0]} of each" if min(counts) == max(counts) else f"fewest {least}, most {most}"
        classes = f"{len(names)} class{'' if len(names) == 1 else 'es'}"
        return f"{counted(len(self.samples), 'video')} of {classes}, {spread}"

    def warnings(self) -> list[str]:
        """What makes a training on these videos doubtful."""
        found = [self.note] if self.note else []
        if self.left_out:
            found.append(f"{counted(len(self.left_out), 'video')} left out, such as {self.left_out[0]}")
        if len(self.class_names) == 1:
            found.append(f"there is a single class, {self.class_names[0]!r}, so there is nothing to tell apart")
        for count, what in ((0, "no video"), (1, "a single video")):
            names = [repr(name) for name, own in zip(self.class_names, self.counts(), strict=True) if own == count]
            if names:
                found.append(f"{len(names)} of {len(self.class_names)} classes have {what}: {', '.join(names[:3])}")
        return found


def file_problems(samples: Sequence[VideoSample]) -> list[tuple[VideoSample, str]]:
    """What is wrong with the files of the samples, in their order."""
    problems = ((each, _file_problem(each.path)) for each in samples if isinstance(each.path, Path))
    return [(each, each.located(f"{each.path} {problem}")) for each, problem in problems if problem]


def _file_problem(path: Path) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        if "\\" in str(path):
            return "is not there, and has backslashes, as Windows writes paths; write / and give the folder as the root"
        if os.path.islink(path):  # noqa: PTH114 - pathlib's raises for names that are too long
            return f"is a link to {os.readlink(path)}, which is not there; correct or remove it"  # noqa: PTH115
        return f"cannot be read ({getattr(error, 'strerror', error)}); check the path and the root"
    if stat.S_ISDIR(status.st_mode):
        return "" if is_frame_folder(path) else "is a folder; name a video file, or a folder of numbered pictures"
    return "is empty (0 bytes); copy it again or remove the line" if status.st_size == 0 else ""


def find_videos_below(folder: str | Path) -> list[Path]:
    """The videos of a folder at any depth, sorted: what has a video's ending, be it a link to nothing, and folders of
    numbered pictures that hold neither videos nor folders.

    Hidden files and folders are passed over. Links are followed, to each folder once.
    """
    found, seen = list[Path](), set[str]()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real in seen:
            continue
        seen.add(real)
        shown = (name for name in files if not name.startswith("."))
        videos = [Path(place, name) for name in shown if os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES]  # noqa: PTH122
        is_pictures = not videos and not folders and any(map(is_picture_name, files))
        found += [Path(place)] if is_pictures else videos
    return sorted(found)


def read_list(file: str | Path, root: str | Path | None = None, class_names: Sequence[str] | None = None) -> VideoList:
    """Read a list file.

    The first line decides the form: with a comma (or tab or semicolon) in it, all are csv, where a cell that holds the
    separator stands in "quotes". Labels are class numbers from 0 or, with `class_names`, names, spelled as `ClassIndex`
    allows; without, the classes are the names that occur, sorted, if no label is a number. Blank lines and those that
    begin with `#` are passed over. JSON lines are {"path": "a.mp4", "label": 3}. A path may be a folder of numbered
    pictures, or a video in a tar file, `train-000.tar::key.mp4`.

    Args:
        file: the list, in UTF-8, or in UTF-16 with its mark at the start.
        root: folder that paths are relative to; default: the list's own.
        class_names: names in the order of the classes; also sets the range that labels must lie in.

    The list tells as problems, each as `list.csv:17: what is wrong`: no label, unknown class, label out of range, a
    path listed twice with one label.

    Raises:
        ValueError: the list cannot be read or is empty.
    """
    file = Path(file)
    names = () if class_names is None else check_class_names(class_names, "class_names")
    entries, problems = _parse(file)
    if class_names is None:
        split = LabelReader(()).split
        found = {name for _, _, label in entries for name in split(label)}
        # A label without letters may be a number.
        names = tuple(sorted(found)) if all(any(map(str.isalpha, name)) for name in found) else ()
    root, labels = file.parent if root is None else Path(root), LabelReader(names)
    samples: dict[str, VideoSample] = {}
    for source, path, label in entries:
        try:
            sample = VideoSample(to_video_path(path, root), labels.read(label), source)
            place = os.path.normpath(str(sample.path))
            samples[place] = _joined(samples[place], sample) if place in samples else sample
        except ValueError as error:
            problems.append(f"{source}: {error}")
    if not samples and not problems:
        raise ValueError(f"{file}: lists no video; write one line 'path,label' for each")
    return VideoList(tuple(samples.values()), names, labels.note, tuple(problems))


def _joined(earlier: VideoSample, sample: VideoSample) -> VideoSample:
    """A video that is listed twice, with the labels of both lines."""
    if not set(earlier.labels).isdisjoint(sample.labels):
        raise ValueError(f"{sample.path} is listed already at {earlier.source}; remove one of the two")
    return replace(earlier, labels=tuple(sorted(earlier.labels + sample.labels)))


def read_text(file: Path) -> str:
    """The text of a file, UTF-8 or the UTF-16 of spreadsheets, its lines ended by `\\n` whatever system wrote it.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        content = file.read_bytes()
        encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is not UTF-8 text; save it as UTF-8") from error


def content_lines(file: Path, text: str) -> Iterator[tuple[str, str]]:
    """(place, line) of the lines of a file's text that say something, stripped."""
    # Not splitlines(): names may hold rarer characters that it takes for line ends.
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.strip()
        if content and not content.startswith("#"):
            yield f"{file.name}:{number}", content


def _parse(file: Path) -> tuple[list[tuple[str, str, str]], list[str]]:
    """The lines of a list file (place, path, label), and what is wrong with its other lines."""
    lines = list(content_lines(file, read_text(file)))
    parse, has_heading = _parser(lines[0][1] if lines else "")
    entries, problems = list[tuple[str, str, str]](), list[str]()
    for source, line in lines[has_heading:]:
        try:
            entries.append((source, *parse(line)))
        except (ValueError, csv.Error) as error:
            problems.append(f"{source}: {error}")
    return entries, problems


def _parser(first_line: str) -> tuple[Callable[[str], tuple[str, str]], bool]:
    """What splits lines into path and label, in a list that begins like this; and whether its first line is only a
    heading."""
    if first_line.startswith("{"):
        return _parse_json_line, False
    delimiter = next((sign for sign in ",\t;" if sign in first_line), None)
    places = {name: place for place, name in enumerate(_cells(first_line, delimiter))}
    path, label = first_value(places, _PATH_COLUMNS), first_value(places, LABEL_COLUMNS)
    has_heading = path is not None and label is not None
    width, path, label = (len(places), path, label) if has_heading else (2, 0, 1)

    def parse_cells(line: str) -> tuple[str, str]:
        cells = _cells(line, delimiter)
        if len(cells) != width:
            remedy = "quote what holds the separator, or begin the list with a heading such as path,label"
            raise ValueError(f"{quoted(line)} has {counted(len(cells), 'column')}, not {width}; {remedy}")
        if not cells[path] or not cells[label]:
            raise ValueError(f"{quoted(line)} has no path or no label; write 'path,label'")
        return cells[path], cells[label]

    return parse_cells, has_heading


def _cells(line: str, delimiter: str | None) -> list[str]:
    """The cells of a line of csv; without a delimiter, what stands before and behind the last blanks."""
    if delimiter is None:
        return line.rsplit(maxsplit=1)
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _parse_json_line(line: str) -> tuple[str, str]:
    entry = parse_json(line)
    path, label = (first_value(entry, columns) for columns in (_PATH_COLUMNS, LABEL_COLUMNS))
    if not isinstance(path, str) or label is None:
        raise ValueError('has no path or no label; write {"path": "a.mp4", "label": 3}')
    return path, label_text(label)
