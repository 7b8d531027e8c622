"""Class names from a setting: a file of them, a data set of the catalogue, or names with commas between.

A file holds one name a line, numbered lines, csv with a heading, or JSON.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitaclip.catalog import dataset_names, load_dataset_classes
from vitaclip.data.labels import first_value, parse_json
from vitaclip.data.lists.list_file import content_lines, csv_cells, read_text, unquote
from vitaclip.names import check_class_names, quoted
from vitaclip.strings import did_you_mean

CLASSES_REMEDY = (
    "give a file with one name a line, a name that `vitaclip list classes` lists, or names with commas between"
)
_NUMBER_COLUMNS = ("", "id", "index", "number", "class_id", "label_id")
_NAME_COLUMNS = ("name", "class", "class_name", "label", "label_name", "category")
_NAME_KEYS = ("id2label", "label2id", "class_names", "classes", "names", "labels", "categories")
# What stands between number and name: a blank, which says little, or a sign such as a comma.
_NUMBER_FIRST = re.compile(r'"?(?P<number>[0-9]{1,9})"?(?:(?P<blank>[.):]?\s+(?![,;|=]))|\s*[,;:|=]\s*)(?P<name>.+)')
_NUMBER_LAST = re.compile(r'(?P<name>.+?)(?:(?P<blank> )|\s?[,;\t]\s?)"?(?P<number>[0-9]{1,9})"?')
_Numbered = list[tuple[int, Any]]


def choose_classes(classes: str) -> tuple[str, ...]:
    """Class names from what a setting says: an existing file with one a line goes first, then the name of a data set
    of the catalogue (whose wording is taken), then a list with commas between the names.

    Raises:
        ValueError: if it is none of them, or a name comes twice.
    """
    if os.path.isfile(classes):  # noqa: PTH113 - pathlib's raises where names with commas are too long for a path
        return read_class_names(classes)
    if classes in dataset_names():
        return load_dataset_classes(classes).prompts
    if "," in classes:
        return check_class_names([name.strip() for name in classes.split(",")], "classes")
    what = f"neither a file nor a data set of the catalogue{did_you_mean(classes, dataset_names())}"
    raise ValueError(f"classes = {quoted(classes)[1:-1]}: {what}; {CLASSES_REMEDY}")


def read_class_names(file: str | Path) -> tuple[str, ...]:
    """Reads class names: one a line, in the order of the class numbers, or each with its number, from 0.

    Blank lines and `#` lines are passed over. Numbers stand before or behind the names (`0 run`, `0,run`, `run,0`), or
    in a column of their own below a heading such as `id,name`. A JSON file holds a list of names, or numbers and names
    as an object (`{"run": 0}`, `{"0": "run"}`), also as `id2label` or `label2id` of a larger one.

    Args:
        file: the names, UTF-8.

    Raises:
        ValueError: the file cannot be read, holds no name, numbers them otherwise, or as `check_class_names`.
    """
    file = Path(file)
    text = read_text(file)
    lines = list(content_lines(file, text))
    names: list[Any] = [line for _, line in lines]
    places = [place for place, _ in lines]
    try:
        if text.lstrip().startswith(("{", "[")):
            names, places = _json_names(text), []
        elif (numbered := _numbered_lines(names)) is not None:
            names, places = _in_order(numbered), []
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return check_class_names(names, str(file), places or None)


def _json_names(text: str) -> list[Any]:
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ValueError(f"{error}; correct it, or write one name a line") from error
    if isinstance(content, dict):
        content = next((content[key] for key in _NAME_KEYS if isinstance(content.get(key), dict | list)), content)
    if isinstance(content, list) and not all(isinstance(entry, dict) for entry in content):
        return content
    if isinstance(content, list):
        pairs = [(first_value(entry, _NUMBER_COLUMNS), first_value(entry, _NAME_COLUMNS)) for entry in content]
    elif all(_is_number(key) and isinstance(value, str) for key, value in content.items()):
        pairs = list(content.items())
    else:
        pairs = [(number, name) for name, number in content.items()]
    if not all(_is_number(number) for number, _ in pairs):
        raise ValueError('write a JSON list of names, {"name": number} or {"number": "name"}')
    return _in_order([(int(number), name) for number, name in pairs])


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | str) and bool(re.fullmatch("[0-9]{1,9}", str(value)))


def _numbered_lines(lines: Sequence[str]) -> _Numbered | None:
    """Numbers and names of the lines, below a heading of csv or not; None if the lines are names alone."""
    if not lines:
        return None
    delimiter = next((sign for sign in ",;\t" if sign in lines[0]), None)
    heading = {cell: place for place, cell in enumerate(lines[0].split(delimiter))}
    number, name = first_value(heading, _NUMBER_COLUMNS), first_value(heading, _NAME_COLUMNS)
    if number is None or name is None or not (delimiter or len(heading) == 2):
        return _all_numbered(lines)
    rows = [csv_cells(line, delimiter) for line in lines[1:]]
    for row in rows:
        if len(row) != len(heading) or not _is_number(row[number]):
            raise ValueError(f"{quoted(', '.join(row))} is not a number and a name below {lines[0]!r}")
    return [(int(row[number]), row[name]) for row in rows]


def _all_numbered(lines: Sequence[str]) -> _Numbered | None:
    """Numbers and names, if all lines have a number before or behind the name; None if not.

    Names may begin or end with a number themselves (`2 handed catch`), so numbers that only a blank parts from the
    names must count them.
    """
    for pattern in (_NUMBER_FIRST, _NUMBER_LAST):
        matches = [match for line in lines if (match := pattern.fullmatch(line))]
        if len(matches) < len(lines):
            continue
        numbered = [(int(match["number"]), unquote(match["name"].rstrip())) for match in matches]
        numbers, names = ({*column} for column in zip(*numbered, strict=True))
        counted = len(numbers) == len(names) == len(lines) > 1 and min(numbers) in (0, 1)
        if counted or not any(match["blank"] for match in matches):
            return numbered
    return None


def _in_order(numbered: _Numbered) -> list[Any]:
    """The names by their numbers, which must be 0, 1, 2 ..., each once."""
    numbers = sorted(number for number, _ in numbered)
    if numbers != list(range(len(numbers))):
        wrong = next(i for i, number in enumerate([*numbers, -1]) if number != i)
        what = f"no class, or more than one, is numbered {wrong}"
        if numbers == list(range(1, len(numbers) + 1)):
            what = "classes are numbered from 1, labels from 0"
        use = "number them 0, 1, 2 ..., each once, here and where labels are numbers, or write one name a line"
        raise ValueError(f"{what}; {use}")
    return [name for _, name in sorted(numbered, key=lambda pair: pair[0])]
