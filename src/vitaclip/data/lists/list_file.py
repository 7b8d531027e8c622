"""Files that list videos: `path,label` or `path label` a line, csv with a heading, or JSON lines."""

import csv
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from unicodedata import normalize

from vitaclip.data.labels import LABEL_COLUMNS, LabelReader, first_value, label_text, parse_json
from vitaclip.data.lists.video_list import VideoList, VideoSample
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.reading.tar import to_video_path
from vitaclip.names import check_class_names, quoted

# The names that people give the column; the first that is there counts.
_PATH_COLUMNS = (
    "path filepath file_path video_path video file filename file_name video_name clip clip_path".split()  # noqa: SIM905
)
_SPLITS = {"train", "val", "validate", "validation", "test"}
# What parts a path from its label: a comma with or without blanks, or blanks alone.
_SEPARATOR = re.compile(r"\s*,\s*|\s+")
_MOST_PARTS = 64
"""Parts of a line's end that are looked up as a label, so that the time grows with the line and not its square."""
_QUOTED_PATH = re.compile(r'"(?P<path>(?:[^"]|"")*)"(?:\s*,\s*|\s+)(?P<label>.+)')
_FILE_ENDING = re.compile(r'\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{2,4}"?(?P<separator>\s*,\s*|\s+)')

_Entry = tuple[str, str]
"""Path and labels of a line, as it writes them."""


def read_list(
    file: str | Path,
    root: str | Path | None = None,
    class_names: Sequence[str] | None = None,
    *,
    keep_absent: bool = False,
    check: bool = True,
) -> VideoList:
    """Read a list of videos, one a line: `path,label`, `path label`, or `path,label|label` for several labels.

    The label is the longest end of the line that is one, because paths may hold blanks and commas; a path may also
    stand in "quotes". Labels are class numbers from 0 or, with `class_names`, names, spelled as `ClassIndex` allows. A
    video that is listed again has the labels of all its lines. Blank lines and lines that begin with `#` are passed
    over. A first line that names columns (`video_path,split,class`) makes the file csv, one that begins with `{` JSON
    lines: {"path": "a.mp4", "label": 3}. A path may be a folder of numbered pictures (`folder frames label` is
    understood) or a video in a tar file, `train-000.tar::key.mp4`.

    Args:
        file: the list, UTF-8.
        root: folder that paths are relative to; default: the list's own.
        class_names: names in the order of the classes; also sets the range that labels must lie in.
        keep_absent: see `VideoList.checked`.
        check: look at the files, and raise for all that is wrong. If not, the list tells its problems.

    Raises:
        ValueError: the list cannot be read or is empty; or, for all lines at once as `list.csv:17: what is wrong`: no
            label, unknown class, label out of range, missing or empty file, a path listed twice with one label.
    """
    file = Path(file)
    names = () if class_names is None else check_class_names(class_names, "class_names")
    labels, lines = LabelReader(names), list(content_lines(file))
    root = file.parent if root is None else Path(root)
    try:
        parse, has_heading = _parser(lines[0][1] if lines else "", labels)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    samples: dict[str, VideoSample] = {}
    problems: list[str] = []
    for source, line in lines[has_heading:]:
        try:
            path, label = parse(line)
            sample = VideoSample(_find_video(path, root), labels.read(label), source)
            place = os.path.normpath(str(sample.path))
            samples[place] = _joined(samples[place], sample) if place in samples else sample
        except ValueError as error:
            problems.append(f"{source}: {error}")
    if not samples and not problems:
        raise ValueError(f"{file}: lists no video; write one line 'path,label' for each")
    videos = VideoList(tuple(samples.values()), names, labels.note, tuple(problems))
    return videos.checked(f"{file}", keep_absent=keep_absent) if check else videos


def _joined(earlier: VideoSample, sample: VideoSample) -> VideoSample:
    """A video that is listed twice, with the labels of both lines."""
    if not set(earlier.labels).isdisjoint(sample.labels):
        raise ValueError(f"{sample.path} is listed already at {earlier.source}; remove one of the two")
    return replace(earlier, labels=tuple(sorted(earlier.labels + sample.labels)))


def read_text(file: Path) -> str:
    """The text of a file, its lines ended by `\\n` whatever system wrote it.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8-sig")  # which makes \r\n and \r of old systems \n
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is not UTF-8 text; save it as UTF-8") from error


def content_lines(file: Path, text: str | None = None) -> Iterator[tuple[str, str]]:
    """(place, line) of the lines that say something, stripped; of a file's `text`, if that is known."""
    # Not splitlines(): names may hold rarer characters that it takes for line ends.
    for number, line in enumerate((read_text(file) if text is None else text).split("\n"), start=1):
        content = line.strip()
        if content and not content.startswith("#"):
            yield f"{file.name}:{number}", content


def _parser(first_line: str, labels: LabelReader) -> tuple[Callable[[str], _Entry], bool]:
    """How to read the lines of a list that begins like this, and whether the first line is only a heading."""
    if first_line.startswith("{"):
        return _parse_json_line, False
    if first_line.startswith("["):
        raise ValueError("is one JSON text; write JSON lines (one {...} a line) or 'path,label' lines")
    delimiter = next((sign for sign in ",\t;" if sign in first_line), None)
    columns = csv_cells(first_line, delimiter)
    times = (time.replace(".", "").isdecimal() for time in columns[2:4])
    if {"youtube_id", "label"} <= set(columns) or (not _SPLITS.isdisjoint(columns[4:]) and all(times)):
        raise ValueError("is the official annotation of Kinetics; `vitaclip data prepare` makes lists of it")
    places = {name: place for place, name in enumerate(columns)}
    path, label = first_value(places, _PATH_COLUMNS), first_value(places, LABEL_COLUMNS)
    if path is None or label is None or (path, label, len(columns)) == (0, 1, 2):
        return partial(_parse_plain, is_label=labels.is_label), path is not None and label is not None

    def parse_cells(line: str) -> _Entry:
        cells = csv_cells(line, delimiter)
        if len(cells) != len(columns):
            raise ValueError(f"has {len(cells)} columns, the heading {len(columns)}; quote what holds the separator")
        if empty := [columns[at] for at in (path, label) if not cells[at]]:
            raise ValueError(f"no {empty[0]}; fill it in or remove the line")
        return cells[path], cells[label]

    return parse_cells, True


def csv_cells(line: str, delimiter: str | None) -> list[str]:
    """The cells of a line of csv, or, without a delimiter, those that blanks part."""
    if delimiter is None:
        return line.split()
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
    except csv.Error as error:
        raise ValueError(f"is no line of csv ({error}); write one video a line") from error


def _parse_json_line(line: str) -> _Entry:
    try:
        entry = parse_json(line)
    except ValueError as error:
        raise ValueError(f"{error}; write one {{...}} a line") from error
    path, label = (first_value(entry, columns) for columns in (_PATH_COLUMNS, LABEL_COLUMNS))
    if path is None or label is None:
        raise ValueError('has no path or no label; write {"path": "a.mp4", "label": 3}')
    if not isinstance(path, str):
        raise ValueError(f"path {quoted(path)} must be text")
    return path, label_text(label)


def _parse_plain(line: str, is_label: Callable[[str], bool]) -> _Entry:
    match = _QUOTED_PATH.fullmatch(line)
    if match is not None:
        return unquote(f'"{match["path"]}"'), unquote(match["label"])
    parts = [(part.start(), part.end()) for part in _SEPARATOR.finditer(line) if part.start() > 0]
    if not parts or parts[-1][1] == len(line):
        raise ValueError(f"{quoted(line)} has no label; write 'path,label'")
    ending = _FILE_ENDING.search(line)
    # What is no label is shown whole in the message: all that stands behind the file.
    otherwise = ending.span("separator") if ending else parts[-1]
    end, start = next((part for part in parts[-_MOST_PARTS:] if is_label(unquote(line[part[1] :]))), otherwise)
    between = line[ending.end() : end] if ending else ""
    if between and all(map(is_label, re.split(r"\s*,\s*", between))):
        raise ValueError(f"several labels ({quoted(line[-40:])[1:-1]}) have | between them, as in 0|2")
    return line[:end], unquote(line[start:])


def unquote(text: str) -> str:
    """The text of a CSV field; one without quotes stays as it is."""
    has_quotes = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if has_quotes else text


def _find_video(path: str, root: Path) -> VideoPath:
    """What is there under the path as it is written, with `/` for each backslash, or with accents in another Unicode
    form; or else under the path without a number behind it (`folder frames label`). If nothing is there at all, the
    path as it is written.
    """
    bare = path.rstrip("0123456789")
    folder = bare.rstrip(", \t") if bare != path else bare
    if "\0" not in path and ("\\" in path or folder != bare or not path.isascii()):
        places = [root / normalize(form, each) for each in (path, path.replace("\\", "/")) for form in ("NFC", "NFD")]
        folders = [root / normalize(form, folder) for form in ("NFC", "NFD") if folder != bare]
        # These of os, unlike pathlib's, are not upset by names that are too long.
        found = [place for place in places if os.path.exists(place)]  # noqa: PTH110
        found += [place for place in folders if os.path.isdir(place)]  # noqa: PTH112
        if found:
            return found[0]
    return to_video_path(path, root)
