"""Names of classes: read from a file, and made sure to be distinct."""

import csv
from collections.abc import Sequence
from pathlib import Path

from vitaclip.data.list_lines import content_lines

_NUMBER_COLUMNS = {"id", "index", "number", "class_id", "label_id"}
_NAME_COLUMNS = {"name", "class", "class_name", "label", "label_name", "category"}


def read_class_names(file: str | Path, *, distinct: bool = True) -> tuple[str, ...]:
    """Reads class names, one a line, in the order of the class numbers. Blank lines and `#` lines are passed
    over. Lines may be numbered, `0,run`, below a heading such as `id,name` or none; the numbers are then 0, 1, 2 ...

    Args:
        file: the names, UTF-8.
        distinct: whether a name may not occur twice.

    Raises:
        ValueError: the file cannot be read, holds no name, numbers them otherwise, or holds one twice (capitals make no
            difference).
    """
    file = Path(file)
    lines = list(content_lines(file))
    names = _without_numbers(file, [line for _, line in lines])
    sources = [source for source, _ in lines][len(lines) - len(names) :]
    return check_class_names(names, str(file), sources, distinct=distinct)


def check_class_names(
    names: Sequence[str], where: str, sources: Sequence[str] | None = None, *, distinct: bool = True
) -> tuple[str, ...]:
    """Class names as a tuple, made sure to be some, not blank, and distinct (capitals make no difference).

    Args:
        names: the class names.
        where: what they come from, for messages.
        sources: place of each name, for messages (`names.txt:3`); default: its number.
        distinct: whether a name may not occur twice.

    Raises:
        ValueError: no name, a blank one, or one that occurs twice.
    """
    if isinstance(names, str):
        raise ValueError(f"{where}: {names!r} is one text; give a list of class names")
    if not names:
        raise ValueError(f"{where}: no class names; give at least one, one a line")
    places = [f"{where}, class {number}" for number in range(len(names))] if sources is None else sources
    for number, earlier in enumerate(first_places(names)):
        name = names[number]
        if not name.strip():
            raise ValueError(f"{places[number]}: blank class name; write a name or remove it")
        if distinct and earlier != number:
            other = f"{names[earlier]!r} ({places[earlier]})"
            raise ValueError(
                f"{places[number]}: class {name!r} is {say_same(name, names[earlier])} {other}; rename or remove one"
            )
    return tuple(names)


def first_places(names: Sequence[str]) -> list[int]:
    """For each name the number of the first that is the same, but for capitals and blanks around it; mostly its own."""
    first: dict[str, int] = {}
    return [first.setdefault(name.strip().casefold(), number) for number, name in enumerate(names)]


def say_same(name: str, earlier: str) -> str:
    """In what way two names are the same."""
    return "the same as" if earlier == name else "but for capitals or blanks the same as"


def _without_numbers(file: Path, lines: Sequence[str]) -> list[str]:
    """The names of numbered lines; other lines as they are."""
    cells = [[cell.strip() for cell in next(csv.reader([line], skipinitialspace=True))] for line in lines]
    heading = [cell.casefold() for cell in cells[0]] if cells else []
    columns = [place for place, cell in enumerate(heading) if cell in _NUMBER_COLUMNS]
    columns += [place for place, cell in enumerate(heading) if cell in _NAME_COLUMNS]
    if len(heading) == len(columns) == 2:
        numbered = [[row[place] for place in columns] if len(row) == 2 else row for row in cells[1:]]
    elif lines and all(len(row) == 2 and row[0].isdecimal() for row in cells):
        numbered = cells
    else:
        return list(lines)
    for number, row in enumerate(numbered):
        if len(row) != 2 or row[0] != str(number):
            raise ValueError(
                f"{file}: class {number} is not in a line '{number},name' ({', '.join(row)!r} is there); sort the lines"
                " by the class numbers, which go 0, 1, 2 ..., or write one name a line"
            )
    return [name for _, name in numbered]
