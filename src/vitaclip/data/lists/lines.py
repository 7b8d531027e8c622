"""The lines of a list of videos: `path,label`, `path label`, csv with named columns, or JSON lines."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from vitaclip.data.labels import (
    BETWEEN_LABELS,
    LABEL_COLUMNS,
    LabelReader,
    Labels,
    format_labels,
    label_text,
    parse_json,
    several_labels,
)
from vitaclip.names import quoted

# The names that people give the column; the first that is there counts.
_PATH_COLUMNS = (
    "path filepath file_path video_path video file filename file_name video_name clip clip_path".split()  # noqa: SIM905
)
_SPLITS = {"train", "val", "validate", "validation", "test"}
# What parts a path from its label: a comma with or without blanks, or blanks alone.
_SEPARATOR = re.compile(r"\s*,\s*|\s+")
_QUOTED_PATH = re.compile(r'"(?P<path>(?:[^"]|"")*)"(?:\s*,\s*|\s+)(?P<label>.+)')
_FILE_ENDING = re.compile(r'\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{2,4}"?(?:\s*,\s*|\s+)')

Reader = Callable[[str], tuple[str, Labels]]
"""Path and labels of a line; raises ValueError, without the place, when there are none."""


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
    """(place, line) of the lines that say something, stripped; of a file's `text`, if that is known.

    Raises:
        ValueError: the file cannot be read.
    """
    # Not splitlines(): names may hold rarer characters that it takes for line ends.
    for number, line in enumerate((read_text(file) if text is None else text).split("\n"), start=1):
        content = line.strip()
        if content and not content.startswith("#"):
            yield f"{file.name}:{number}", content


def line_reader(first_line: str, labels: LabelReader) -> tuple[Reader, bool]:
    """How to read the lines of a list that begins like this, and whether the first line is only a heading.

    Raises:
        ValueError: the first line is that of official annotations, or not ours to read.
    """
    if first_line.startswith("{"):
        return lambda line: _read_json(line, labels), False
    if first_line.startswith("["):
        raise ValueError("is one JSON text; write JSON lines (one {...} a line) or 'path,label' lines")
    delimiter = next((sign for sign in ",\t;" if sign in first_line), None)
    columns = csv_cells(first_line, delimiter)
    names = [name.casefold() for name in columns]
    times = columns[2:4]
    without_heading = not _SPLITS.isdisjoint(names[4:]) and all(time.replace(".", "").isdecimal() for time in times)
    if {"youtube_id", "label"} <= set(names) or without_heading:
        raise ValueError("is the official annotation of Kinetics; `vitaclip data prepare` makes lists of it")
    path, label = _first_of(_PATH_COLUMNS, names), _first_of(LABEL_COLUMNS, names)
    if path is None or label is None:
        return lambda line: _read_plain(line, labels), False
    if (path, label, len(names)) == (0, 1, 2):
        return lambda line: _read_plain(line, labels), True
    return lambda line: _read_columns(csv_cells(line, delimiter), columns, path, label, labels), True


def csv_cells(line: str, delimiter: str | None) -> list[str]:
    """The cells of a line of csv, or, without a delimiter, those that blanks part.

    Raises:
        ValueError: a cell is too long.
    """
    if delimiter is None:
        return line.split()
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
    except csv.Error as error:
        raise ValueError(f"is no line of csv ({error}); write one video a line") from error


def _first_of(known: Iterable[str], names: list[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _read_columns(
    cells: list[str], columns: list[str], path: int, label: int, labels: LabelReader
) -> tuple[str, Labels]:
    if len(cells) != len(columns):
        raise ValueError(f"has {len(cells)} columns, the heading {len(columns)}; quote what holds the separator")
    if not cells[path] or not cells[label]:
        raise ValueError(f"no {columns[path] if not cells[path] else columns[label]}; fill it in or remove the line")
    return cells[path], labels.read(cells[label])


def _read_json(line: str, labels: LabelReader) -> tuple[str, Labels]:
    try:
        entry = parse_json(line)
    except ValueError as error:
        raise ValueError(f"{error}; write one {{...}} a line") from error
    keys = {str(key).casefold(): key for key in entry} if isinstance(entry, dict) else {}
    path_at, label_at = _first_of(_PATH_COLUMNS, list(keys)), _first_of(LABEL_COLUMNS, list(keys))
    if path_at is None or label_at is None:
        raise ValueError('has no path or no label; write {"path": "a.mp4", "label": 3}')
    path, label = (entry[list(keys.values())[at]] for at in (path_at, label_at))
    if not isinstance(path, str):
        raise ValueError(f"path {quoted(path)} must be text")
    return path, labels.read(label_text(label))


def _read_plain(line: str, labels: LabelReader) -> tuple[str, Labels]:
    match = _QUOTED_PATH.fullmatch(line)
    if match is not None:
        return unquote(f'"{match["path"]}"'), labels.read(unquote(match["label"]))
    line, others = _split_off_others(line, labels)
    separators = [separator for separator in _SEPARATOR.finditer(line) if separator.start() > 0]
    if not separators or separators[-1].end() == len(line):
        raise ValueError(f"{quoted(line)} has no label; write 'path,label'")
    named = _before_name(line, separators, labels)
    separator = named or separators[-1]
    label = line[separator.end() :]
    ending = _FILE_ENDING.search(line)
    behind_file = line[ending.end() :] if ending else label
    if behind_file != label and labels.means_several(behind_file):
        raise several_labels(behind_file)
    if named is None and labels.index is not None and not labels.is_label(label):
        label = behind_file  # Not a known class: the message shows all that stands for one.
    return line[: separator.start()], labels.read(format_labels([unquote(label), *others]))


def _split_off_others(line: str, labels: LabelReader) -> tuple[str, list[str]]:
    """A line with one label, and the labels that stand behind it with `|` between."""
    if line.endswith('"'):  # path,"label|label"
        start = line.rfind('"', 0, -1)
        line = line[:start] + line[start + 1 : -1] if start > 0 else line
    first, *others = (part.strip() for part in line.split(BETWEEN_LABELS))
    return (first, others) if all(map(labels.is_label, others)) else (line, [])


def _before_name(line: str, separators: Sequence[re.Match[str]], labels: LabelReader) -> re.Match[str] | None:
    """The separator before the longest class name that ends the line; None if none does.

    Labels much longer than every name are not looked up, so that the time grows with the line and not its square.
    """
    if labels.index is None:
        return None
    longest = 64 + 4 * labels.index.longest
    ends = [separator for separator in separators if len(line) - separator.end() <= longest]
    for find in (labels.index.exact, labels.index.find):
        for separator in ends:  # from the left: the longest name is met first
            if find(line[separator.end() :]) is not None:
                return separator
    return None


def unquote(text: str) -> str:
    """The text of a CSV field; one without quotes stays as it is."""
    has_quotes = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if has_quotes else text
