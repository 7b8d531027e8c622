"""The lines of a list of videos: `path,label`, `path label`, csv with named columns, or JSON lines."""

import csv
import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from vitaclip.names import ClassIndex, quoted

# The names that people give the two columns; the first that is there counts.
_PATH_COLUMNS = (
    "path filepath file_path video_path video file filename file_name video_name clip clip_path".split()  # noqa: SIM905
)
_LABEL_COLUMNS = "label class class_name label_name category class_id label_id target".split()  # noqa: SIM905
_SPLITS = {"train", "val", "validate", "validation", "test"}
# What parts a path from its label: a comma with or without blanks, or blanks alone.
_SEPARATOR = re.compile(r"\s*,\s*|\s+")
_QUOTED_PATH = re.compile(r'"(?P<path>(?:[^"]|"")*)"(?:\s*,\s*|\s+)(?P<label>.+)')
_FILE_ENDING = re.compile(r'\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{2,4}"?(?:\s*,\s*|\s+)')
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_MOST_HINTS, _MOST_COMPARED = 10, 20_000  # ten problems are shown, and each name is compared with all classes

Reader = Callable[[str], tuple[str, int]]
"""Path and class number of a line; raises ValueError, without the place, when there is none."""


def read_text(file: Path) -> str:
    """The text of a file, its lines ended by `\\n` whatever system wrote it.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")  # which makes \r\n and \r of old systems \n
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is not UTF-8 text; save it as UTF-8") from error
    return text


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


def parse_json(text: str) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: it is none, names a key twice, or is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_distinct_keys)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error.msg})") from error
    except RecursionError as error:
        raise ValueError("is no JSON to be read (nested too deeply)") from error


def _distinct_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for number, key in enumerate(keys) if key in keys[:number])
        raise ValueError(f"has the key {quoted(twice)} twice; remove one")
    return entries


class LabelReader:
    """Turns labels, as lists and tar files write them, into class numbers."""

    def __init__(self, class_names: Sequence[str] | None) -> None:
        """Args:
        class_names: names in the order of the class numbers; None when only numbers are known.
        """
        self.index = None if class_names is None else ClassIndex(class_names)
        self._least: int | None = None  # of the labels written as numbers
        self._hints = _MOST_HINTS if len(class_names or ()) <= _MOST_COMPARED else 0

    @property
    def note(self) -> str:
        """A suspicion that labels count from 1, for the user; empty without."""
        if self._least != 1:
            return ""
        return "label 0 never occurs: labels count from 0; if these count from 1, every class is the one after its own"

    def read(self, label: str) -> int:
        """The class that a label means.

        Raises:
            ValueError: no such class, several, or a number where a name is needed.
        """
        named = self.index.exact(label) if self.index else None
        if named is not None:
            if label.isdecimal() and int(label) != named:
                classes = f"class number {int(label)} or the name of class {named}"
                raise ValueError(f"label {label!r} may be {classes}; rename that class")
            return named
        if not _NUMBER.fullmatch(label):
            return self._named(label)
        number = int(label)
        if number < 0:
            raise ValueError(f"label {number} is negative; classes are numbered from 0")
        self._least = number if self._least is None else min(self._least, number)
        if self.index is not None and number >= len(self.index.names):
            classes = f"{len(self.index.names)} classes" if len(self.index.names) > 1 else "1 class"
            raise ValueError(f"label {number} is out of range for {classes}; use 0..{len(self.index.names) - 1}")
        return number

    def _named(self, label: str) -> int:
        meant = self.index.find(label) if self.index else None
        if meant is not None:
            return meant
        if self.means_several(label):
            raise _several_labels(label)
        if self.index is None:
            raise ValueError(f"label {quoted(label)} is no class number; use 0, 1, ... or give the class names")
        hint = similar(label, self.index.names) if self._hints > 0 else ""
        self._hints -= 1
        raise ValueError(f"no class is called {quoted(label)}{hint}; correct it or add it to the class names")

    def means_several(self, text: str) -> bool:
        """Whether a text is several labels, with signs between."""
        bare = text.strip("\"'[]() ")
        numbers, names = re.split(r"[\s,;|]+", bare), [name.strip() for name in re.split(r"[,;|]", bare)]
        return (len(numbers) > 1 and all(map(str.isdecimal, numbers))) or (
            len(names) > 1
            and all(name.isdecimal() or (self.index and self.index.find(name) is not None) for name in names)
        )


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
    path, label = _first_of(_PATH_COLUMNS, names), _first_of(_LABEL_COLUMNS, names)
    if path is None or label is None:
        return lambda line: _read_plain(line, labels), False
    if (path, label, len(names)) == (0, 1, 2):
        return lambda line: _read_plain(line, labels), True
    return lambda line: _read_columns(csv_cells(line, delimiter), columns, path, label, labels), True


def similar(name: str, names: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, if one is close."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {quoted(close[0])}?)" if close else ""


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


def _read_columns(cells: list[str], columns: list[str], path: int, label: int, labels: LabelReader) -> tuple[str, int]:
    if len(cells) != len(columns):
        raise ValueError(f"has {len(cells)} columns, the heading {len(columns)}; quote what holds the separator")
    if not cells[path] or not cells[label]:
        raise ValueError(f"no {columns[path] if not cells[path] else columns[label]}; fill it in or remove the line")
    return cells[path], labels.read(cells[label])


def _read_json(line: str, labels: LabelReader) -> tuple[str, int]:
    try:
        entry = parse_json(line)
    except ValueError as error:
        raise ValueError(f"{error}; write one {{...}} a line") from error
    keys = {str(key).casefold(): key for key in entry} if isinstance(entry, dict) else {}
    path_at, label_at = _first_of(_PATH_COLUMNS, list(keys)), _first_of(_LABEL_COLUMNS, list(keys))
    if path_at is None or label_at is None:
        raise ValueError('has no path or no label; write {"path": "a.mp4", "label": 3}')
    path, label = (entry[list(keys.values())[at]] for at in (path_at, label_at))
    if not isinstance(path, str):
        raise ValueError(f"path {quoted(path)} must be text")
    return path, labels.read(_label_text(label))


def label_of_entry(text: str) -> str | None:
    """The label in a JSON text, itself a label or an object with one of the usual names for it; None without.

    Raises:
        ValueError: no JSON, several labels, or something else than a number or a name.
    """
    try:
        entry = parse_json(text)
    except ValueError as error:
        raise ValueError(f"its json {error}; write it anew") from error
    if not isinstance(entry, dict):
        return _label_text(entry)
    values = {str(key).casefold(): value for key, value in entry.items()}
    return next((_label_text(values[name]) for name in _LABEL_COLUMNS if name in values), None)


def _label_text(label: object) -> str:
    """A label out of JSON."""
    if isinstance(label, list) and len(label) == 1:
        label = label[0]
    if isinstance(label, list):
        raise _several_labels(", ".join(map(str, label)))
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise ValueError(f"label {quoted(label)} must be a number or a name")
    return str(label)


def _read_plain(line: str, labels: LabelReader) -> tuple[str, int]:
    match = _QUOTED_PATH.fullmatch(line)
    if match is not None:
        return unquote(f'"{match["path"]}"'), labels.read(unquote(match["label"]))
    separators = [separator for separator in _SEPARATOR.finditer(line) if separator.start() > 0]
    if not separators or separators[-1].end() == len(line):
        raise ValueError(f"{quoted(line)} has no label; write 'path,label'")
    separator = _before_name(line, separators, labels.index)
    label = line[(separator or separators[-1]).end() :]
    ending = _FILE_ENDING.search(line)
    behind_file = line[ending.end() :] if ending else label
    if behind_file != label and labels.means_several(behind_file):
        raise _several_labels(behind_file)
    if separator is None and labels.index is not None and not _NUMBER.fullmatch(label):
        label = behind_file  # Not a known class: the message shows all that stands for one.
    return line[: (separator or separators[-1]).start()], labels.read(label)


def _before_name(line: str, separators: Sequence[re.Match[str]], index: ClassIndex | None) -> re.Match[str] | None:
    """The separator before the longest class name that ends the line; None if none does.

    Labels much longer than every name are not looked up, so that the time grows with the line and not its square.
    """
    if index is None:
        return None
    longest = 64 + 4 * index.longest
    ends = [separator for separator in separators if len(line) - separator.end() <= longest]
    for find in (index.exact, index.find):
        for separator in ends:  # from the left: the longest name is met first
            if find(line[separator.end() :]) is not None:
                return separator
    return None


def unquote(text: str) -> str:
    """The text of a CSV field; one without quotes stays as it is."""
    has_quotes = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if has_quotes else text


def _several_labels(labels: str) -> ValueError:
    return ValueError(
        f"several labels ({quoted(labels)[1:-1]}): lists with several classes a video are not supported; write one"
    )
