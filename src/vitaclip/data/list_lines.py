"""What the lines of a list say: `path,label`, `path label`, csv with named columns, or JSON lines."""

import csv
import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from vitaclip.data.class_index import ClassIndex

# The names that people give the two columns; the first that is there counts.
_PATH_COLUMNS = (
    "path filepath file_path video_path video file filename file_name video_name clip clip_path".split()  # noqa: SIM905
)
_LABEL_COLUMNS = "label class class_name label_name category class_id label_id target".split()  # noqa: SIM905
# What parts a path from its label: a comma with or without blanks, or blanks alone.
_SEPARATOR = r"(?:\s*,\s*|\s+)"
_PATH_AND_LAST_FIELD = re.compile(rf"(?P<path>.+?){_SEPARATOR}(?P<label>[^\s,]+)")
_QUOTED_PATH = re.compile(rf'(?P<path>"(?:[^"]|"")*"){_SEPARATOR}(?P<label>.+)')
_ENDING = r"\.(?=[0-9]*[A-Za-z])[A-Za-z0-9]{2,4}"
_SEVERAL_NUMBERS = re.compile(rf'.+{_ENDING}"?[\s,]+(?P<labels>["\[(]?\s*\d+(?:\s*[\s,;|]\s*\d+)+\s*[\])"]?)')
_FILE_AND_NAME = re.compile(rf'.+?{_ENDING}"?{_SEPARATOR}(?P<label>.+)')
_FILE_AND_MORE = re.compile(rf'(?P<file>.+{_ENDING}"?)\s*,\s*(?P<more>.+)')

Reader = Callable[[str], tuple[str, int]]
"""Path and class number of a line; raises ValueError, without the place, when there is none."""


def content_lines(file: Path) -> Iterator[tuple[str, str]]:
    """(place, text) of the lines that say something, stripped.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is not UTF-8 text; save it as UTF-8") from error
    # Not splitlines(): names may hold rarer characters that it takes for line ends.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        content = line.strip()
        if content and not content.startswith("#"):
            yield f"{file.name}:{number}", content


def line_reader(first_line: str, index: ClassIndex | None) -> tuple[Reader, bool]:
    """How to read the lines of a list that begins like this, and whether the first line is only a heading.

    Raises:
        ValueError: the heading is that of official annotations, or not ours to read.
    """
    if first_line.startswith("{"):
        return lambda line: _read_json(line, index), False
    if first_line.startswith("["):
        raise ValueError("is one JSON text; write JSON lines (one {...} a line) or 'path,label' lines")
    delimiter = next((sign for sign in ",\t;" if sign in first_line), None)
    columns = _cells(first_line, delimiter)
    names = [name.casefold() for name in columns]
    if {"youtube_id", "label"} <= set(names):
        raise ValueError("is the official annotation of Kinetics; `vitaclip data prepare` makes lists of it")
    path, label = _first_of(_PATH_COLUMNS, names), _first_of(_LABEL_COLUMNS, names)
    if path is None or label is None:
        return lambda line: _read_plain(line, index), False
    if (path, label, len(names)) == (0, 1, 2):
        return lambda line: _read_plain(line, index), True
    return lambda line: _read_columns(_cells(line, delimiter), columns, path, label, index), True


def similar(name: str, names: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, if one is close."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _first_of(known: Iterable[str], names: list[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _read_columns(
    cells: list[str], columns: list[str], path: int, label: int, index: ClassIndex | None
) -> tuple[str, int]:
    if len(cells) != len(columns):
        raise ValueError(f"has {len(cells)} columns, the heading {len(columns)}; quote what holds the separator")
    if not cells[path] or not cells[label]:
        raise ValueError(f"no {columns[path] if not cells[path] else columns[label]}; fill it in or remove the line")
    return cells[path], class_number(cells[label], index)


def _read_json(line: str, index: ClassIndex | None) -> tuple[str, int]:
    try:
        entry: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error.msg}); write one {{...}} a line") from error
    keys = {str(key).casefold(): key for key in entry} if isinstance(entry, dict) else {}
    path_at, label_at = _first_of(_PATH_COLUMNS, list(keys)), _first_of(_LABEL_COLUMNS, list(keys))
    if path_at is None or label_at is None:
        raise ValueError('has no path or no label; write {"path": "a.mp4", "label": 3}')
    path, label = (entry[list(keys.values())[at]] for at in (path_at, label_at))
    if not isinstance(path, str):
        raise ValueError(f"path {path!r} must be text")
    return path, class_number(_label_text(label), index)


def label_of_entry(text: str) -> str | None:
    """The label in a JSON text, itself a label or an object with one of the usual names for it; None without.

    Raises:
        ValueError: no JSON, several labels, or something else than a number or a name.
    """
    try:
        entry: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"its json is no JSON ({error.msg}); write it anew") from error
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
        raise ValueError(f"label {label!r} must be a number or a name")
    return str(label)


def _read_plain(line: str, index: ClassIndex | None) -> tuple[str, int]:
    quoted = _QUOTED_PATH.fullmatch(line)
    if quoted is not None:
        return _unquote(quoted["path"]), class_number(_unquote(quoted["label"]), index)
    for find in (index.exact, index.find) if index else ():
        for separator in re.finditer(_SEPARATOR, line):  # from the left: the longest name is met first
            label = line[separator.end() :]
            if separator.start() > 0 and find(label) is not None:
                return _only_path(line[: separator.start()], line, index), class_number(label, index)
            if index is not None and index.find(label) is None and _means_several(label, index):
                raise _several_labels(label)
    match = _PATH_AND_LAST_FIELD.fullmatch(line)
    if match is None:
        raise ValueError(f"{line!r} has no label; write 'path,label'")
    path, label = _only_path(match["path"], line, index), match["label"]
    named = _FILE_AND_NAME.fullmatch(line)
    if index is not None and named is not None and not label.lstrip("-").isdecimal():
        label = named["label"]  # no class, or it were found above: named whole, not by its last word
    return path, class_number(label, index)


def _only_path(path: str, line: str, index: ClassIndex | None) -> str:
    """The path, made sure not to go on with further numbers or classes after a file's ending."""
    several = _SEVERAL_NUMBERS.fullmatch(line)
    if several is not None:
        raise _several_labels(several["labels"])
    further = _FILE_AND_MORE.fullmatch(path)
    if further is not None and index is not None and index.find(further["more"]) is not None:
        raise _several_labels(f"{further['more']}, and another")
    return path


def _unquote(text: str) -> str:
    """The text of a CSV field; one without quotes stays as it is."""
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if quoted else text


def class_number(label: str, index: ClassIndex | None) -> int:
    """The class that a label means: by the names of `index`, which is None when only numbers are known.

    Raises:
        ValueError: no such class, several, or a number where a name is needed.
    """
    named = index.exact(label) if index else None
    if named is not None:
        if label.isdecimal() and int(label) != named:
            classes = f"class number {int(label)} or the name of class {named}"
            raise ValueError(f"label {label!r} may be {classes}; rename that class")
        return named
    if not re.fullmatch(r"-?[0-9]+", label):
        return _named_class(label, index)
    number = int(label)
    if number < 0:
        raise ValueError(f"label {number} is negative; classes are numbered from 0")
    if index is not None and number >= len(index.names):
        classes = f"{len(index.names)} classes" if len(index.names) > 1 else "1 class"
        raise ValueError(f"label {number} is out of range for {classes}; use 0..{len(index.names) - 1}")
    return number


def _named_class(label: str, index: ClassIndex | None) -> int:
    meant = index.find(label) if index else None
    if meant is not None:
        return meant
    if _means_several(label, index) or re.fullmatch(r"\d+(?:\s*[\s,]\s*\d+)+", label.strip("[]()")):
        raise _several_labels(label)
    if index is None:
        raise ValueError(f"label {label!r} is no class number; use 0, 1, ... or give the class names")
    raise ValueError(
        f"no class is called {label!r}{similar(label, index.names)}; correct it or add it to the class names"
    )


def _means_several(label: str, index: ClassIndex | None) -> bool:
    parts = [part.strip() for part in re.split(r"[|;]", label.strip("[]()"))]
    return len(parts) > 1 and all(part.isdecimal() or (index and index.find(part) is not None) for part in parts)


def _several_labels(labels: str) -> ValueError:
    return ValueError(f"several labels ({labels}): lists with several classes a video are not supported; write one")
