"""Files of class names: one a line, numbered lines, csv with a heading, or JSON."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vitaclip.data.labels import parse_json
from vitaclip.data.lists.lines import content_lines, csv_cells, read_text, unquote
from vitaclip.names import check_class_names, quoted

_NUMBER_COLUMNS = {"", "id", "index", "number", "class_id", "label_id"}
_NAME_COLUMNS = {"name", "class", "class_name", "label", "label_name", "category"}
_NAME_KEYS = ("id2label", "label2id", "class_names", "classes", "names", "labels", "categories")
_NUMBER_FIRST = re.compile(r'"?(?P<number>[0-9]{1,9})"?(?:(?P<blank>[.):]?\s+(?![,;|=]))|\s*[,;:|=]\s*)')
_NUMBER_LAST = re.compile(r'(?:(?P<blank> )|\s?[,;\t]\s?)"?(?P<number>[0-9]{1,9})"?$')
_Numbered = list[tuple[int, Any]]
_Line = tuple[int, str, bool]  # number, name, and whether a comma or the like stands between


def read_class_names(file: str | Path, *, distinct: bool = True) -> tuple[str, ...]:
    """Reads class names: one a line, in the order of the class numbers, or each with its number, from 0.

    Blank lines and `#` lines are passed over. Numbers stand before or behind the names (`0 run`, `0,run`, `run,0`), or
    in a column of their own below a heading such as `id,name`. A JSON file holds a list of names, or numbers and names
    as an object (`{"run": 0}`, `{"0": "run"}`), also as `id2label` or `label2id` of a larger one.

    Args:
        file: the names, UTF-8.
        distinct: whether a name may not occur twice.

    Raises:
        ValueError: the file cannot be read, holds no name, numbers them otherwise, or as `check_class_names`.
    """
    file = Path(file)
    text = read_text(file)
    if text.lstrip()[:1] in ("{", "["):
        return check_class_names(_json_names(file, text), str(file), distinct=distinct)
    lines = list(content_lines(file, text))
    numbered = _numbered_lines(file, [line for _, line in lines])
    if numbered is not None:
        return check_class_names(_in_order(file, numbered), str(file), distinct=distinct)
    return check_class_names([line for _, line in lines], str(file), [place for place, _ in lines], distinct=distinct)


def _json_names(file: Path, text: str) -> list[Any]:
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ValueError(f"{file}: {error}; correct it, or write one name a line") from error
    if isinstance(content, dict):
        content = next((content[key] for key in _NAME_KEYS if isinstance(content.get(key), dict | list)), content)
    if isinstance(content, list) and not all(isinstance(entry, dict) for entry in content):
        return content
    if isinstance(content, list):
        pairs = [tuple(_first(entry, columns) for columns in (_NUMBER_COLUMNS, _NAME_COLUMNS)) for entry in content]
    else:
        pairs = list(content.items())
        if not all(_is_number(key) and isinstance(value, str) for key, value in pairs):
            pairs = [(number, name) for name, number in pairs]
    if not all(_is_number(number) for number, _ in pairs):
        raise ValueError(f'{file}: write a JSON list of names, {{"name": number}} or {{"number": "name"}}')
    return _in_order(file, [(int(number), name) for number, name in pairs])


def _first(entry: Mapping[str, Any], keys: set[str]) -> Any:
    return next((value for key, value in entry.items() if key.casefold() in keys), None)


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | str) and bool(re.fullmatch("[0-9]{1,9}", str(value)))


def _numbered_lines(file: Path, lines: Sequence[str]) -> _Numbered | None:
    """Numbers and names of the lines; None if the lines are names alone."""
    if not lines:
        return None
    delimiter = next((sign for sign in ",;\t" if sign in lines[0]), None)
    heading = {cell.casefold(): place for place, cell in enumerate(lines[0].split(delimiter))}
    number, name = (_first(heading, columns) for columns in (_NUMBER_COLUMNS, _NAME_COLUMNS))
    if number is not None and name is not None and (delimiter or len(heading) == 2):
        try:
            rows = [csv_cells(line, delimiter) for line in lines[1:]]
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        wrong = next((row for row in rows if len(row) != len(heading) or not _is_number(row[number])), None)
        if wrong is not None:
            raise ValueError(f"{file}: {quoted(', '.join(wrong))} is not a number and a name below {lines[0]!r}")
        return [(int(row[number]), row[name]) for row in rows]
    return _all_numbered(map(_number_first, lines)) or _all_numbered(map(_number_last, lines))


def _number_first(line: str) -> _Line | None:
    match = _NUMBER_FIRST.match(line)
    name = unquote(line[match.end() :]) if match else ""
    return (int(match["number"]), name, not match["blank"]) if match and name else None


def _number_last(line: str) -> _Line | None:
    match = _NUMBER_LAST.search(line, max(0, len(line) - 16))
    return (int(match["number"]), unquote(line[: match.start()].rstrip()), not match["blank"]) if match else None


def _all_numbered(lines: Iterable[_Line | None]) -> _Numbered | None:
    """Numbers and names, if all lines have a number: before or behind a comma or the like, or else such as count them.

    Names may begin or end with a number themselves (`2 handed catch`), so a blank says little.
    """
    found: list[_Line] = []
    for line in lines:
        if line is None:
            return None
        found.append(line)
    numbers = [number for number, _, _ in found]
    counted = len({*numbers}) == len({name for _, name, _ in found}) == len(found) > 1 and min(numbers) in (0, 1)
    return [(number, name) for number, name, _ in found] if counted or all(sure for *_, sure in found) else None


def _in_order(file: Path, numbered: _Numbered) -> list[Any]:
    """The names by their numbers.

    Raises:
        ValueError: the numbers are not 0, 1, 2 ..., each once.
    """
    numbers = sorted(number for number, _ in numbered)
    if numbers != list(range(len(numbers))):
        wrong = next(i for i, number in enumerate([*numbers, -1]) if number != i)
        what = f"no class, or more than one, is numbered {wrong}"
        if numbers == list(range(1, len(numbers) + 1)):
            what = "classes are numbered from 1, labels from 0"
        raise ValueError(
            f"{file}: {what}; number them 0, 1, 2 ..., each once, here and where labels are numbers, or write one name"
            " a line"
        )
    return [name for _, name in sorted(numbered, key=lambda pair: pair[0])]
