"""Class names from a setting: a file of them, a data set of the catalogue, or names with commas between."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vitaclip.catalog import dataset_names, load_dataset_classes
from vitaclip.data.labels import parse_json
from vitaclip.data.lists.video_list import content_lines, read_text, unquote
from vitaclip.names import check_class_names, quoted
from vitaclip.strings import did_you_mean

CLASSES_REMEDY = (
    "give a file with one name a line, a name that `vitaclip list classes` lists, or names with commas between"
)
_NAME_KEYS = ("id2label", "label2id", "class_names", "classes", "names", "labels", "categories")
# What stands between number and name: a blank, which says little, or a sign such as a comma.
_NUMBER_FIRST = re.compile(r'"?(?P<number>[0-9]{1,9})"?(?:(?P<blank>[.):]?\s+(?![,;|=]))|\s*[,;:|=]\s*)(?P<name>.+)')
_NUMBER_LAST = re.compile(r'(?P<name>.+?)(?:(?P<blank> )|\s?[,;\t]\s?)"?(?P<number>[0-9]{1,9})"?')
_HEADING = re.compile(
    r"(id|index|number|class_id)\s*[,;\t ]\s*\w+|\w+\s*[,;\t ]\s*(id|index|number|class_id)", re.IGNORECASE
)


def choose_classes(classes: str) -> tuple[str, ...]:
    """Class names from what a setting says: an existing file with one a line goes first, then names with commas
    between, then the name of a data set of the catalogue (whose wording is taken). A text with blanks is one name, if
    it has no ending as a file would.

    Raises:
        ValueError: if it is none of them, or a name comes twice.
    """
    if os.path.isfile(classes):  # noqa: PTH113 - pathlib's raises where names with commas are too long for a path
        return read_class_names(classes)
    if "," in classes or (" " in classes.strip() and not Path(classes).suffix):
        return check_class_names([name.strip() for name in classes.rstrip(", ").split(",")], "classes")
    if classes in dataset_names():
        return load_dataset_classes(classes).prompts
    what = f"neither a file nor a data set of the catalogue{did_you_mean(classes, dataset_names())}"
    raise ValueError(f"classes = {quoted(classes)[1:-1]}: {what}; {CLASSES_REMEDY}")


def read_class_names(file: str | Path) -> tuple[str, ...]:
    """Read class names: one a line, in the order of the class numbers, or each with its number, from 0.

    Blank lines and `#` lines are passed over. Numbers stand before or behind all names (`0 run`, `0,run`, `run,0`),
    below a heading such as `id,name` or not. A JSON file holds a list of names, or numbers and names as an object
    (`{"run": 0}`, `{"0": "run"}`), also as `id2label` or `label2id` of a larger one.

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
            names, places = _json_names(parse_json(text)), []
        elif (numbered := _numbered(names[bool(names and _HEADING.fullmatch(names[0])) :])) is not None:
            names, places = _in_order(numbered), []
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return check_class_names(names, str(file), places or None)


def _json_names(content: Any) -> list[Any]:
    if isinstance(content, dict):
        content = next((content[key] for key in _NAME_KEYS if isinstance(content.get(key), dict | list)), content)
    if isinstance(content, list):
        return content
    by_number = all(_is_number(key) and isinstance(value, str) for key, value in content.items())
    pairs = list(content.items()) if by_number else [(number, name) for name, number in content.items()]
    if not all(_is_number(number) for number, _ in pairs):
        raise ValueError('write a JSON list of names, {"name": number} or {"number": "name"}')
    return _in_order((int(number), name) for number, name in pairs)


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | str) and bool(re.fullmatch("[0-9]{1,9}", str(value)))


def _numbered(lines: Sequence[str]) -> list[tuple[int, str]] | None:
    """Numbers and names, if all lines have a number before or behind the name; None if not.

    Names may begin or end with a number themselves (`2 handed catch`), so numbers that only a blank parts from the
    names must count them.
    """
    for pattern in (_NUMBER_FIRST, _NUMBER_LAST):
        matches = [match for line in lines if (match := pattern.fullmatch(line))]
        if not matches or len(matches) < len(lines):
            continue
        numbered = [(int(match["number"]), unquote(match["name"].rstrip())) for match in matches]
        numbers, names = ({*column} for column in zip(*numbered, strict=True))
        counted = len(numbers) == len(names) == len(lines) > 1 and min(numbers) in (0, 1)
        if counted or not any(match["blank"] for match in matches):
            return numbered
    return None


def _in_order(numbered: Iterable[tuple[int, Any]]) -> list[Any]:
    """The names by their numbers, which must be 0, 1, 2 ..., each once."""
    pairs = sorted(numbered, key=lambda pair: pair[0])
    numbers = [number for number, _ in pairs]
    if numbers != list(range(len(numbers))):
        wrong = next(i for i, number in enumerate([*numbers, -1]) if number != i)
        what = f"no class, or more than one, is numbered {wrong}"
        if numbers == list(range(1, len(numbers) + 1)):
            what = "classes are numbered from 1, labels from 0"
        use = "number them 0, 1, 2 ..., each once, here and where labels are numbers, or write one name a line"
        raise ValueError(f"{what}; {use}")
    return [name for _, name in pairs]
