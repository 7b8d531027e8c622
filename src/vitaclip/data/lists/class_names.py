"""Class names from a setting: a file of them, a data set of the catalogue, or names with commas between."""

import os
import re
from pathlib import Path

from vitaclip.catalog import dataset_names, load_dataset_classes
from vitaclip.data.lists.video_list import content_lines, read_text
from vitaclip.names import check_class_names, quoted
from vitaclip.strings import did_you_mean

CLASSES_REMEDY = (
    "give a file with one name a line, a name that `vitaclip list classes` lists, or names with commas between"
)


def choose_classes(classes: str) -> tuple[str, ...]:
    """Class names from what a setting says: an existing file with one a line goes first, then names with commas
    between, then the name of a data set of the catalogue (whose wording is taken). A text with blanks is one name, if
    it has no ending as a file would.

    Raises:
        ValueError: if it is none of them, or a name comes twice.

    >>> choose_classes("opening a door, closing a door")
    ('opening a door', 'closing a door')
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
    """Read a UTF-8 file of class names, one a line, in the order of the class numbers. Blank lines and `#` lines are
    passed over.

    Raises:
        ValueError: the file cannot be read, holds no name, is JSON, numbers its names, or as `check_class_names`.
    """
    lines = list(content_lines(Path(file), read_text(Path(file))))
    names = tuple(name for _, name in lines)
    has_heading = bool(names) and not any(map(str.isdigit, names[0]))
    if names and (names[0][0] in "{[" or _are_numbered(names[has_heading:])):
        what = "is JSON" if names[0][0] in "{[" else "numbers its classes"
        raise ValueError(f"{file}: {what}; write the names alone, one a line, in the order of the labels from 0")
    return check_class_names(names, str(file), [place for place, _ in lines])


def _are_numbered(lines: tuple[str, ...]) -> bool:
    """Whether numbers before or behind all names count them from 0 or 1. Names may begin or end with other numbers."""
    for pattern in (r'"?(\d{1,9})\b.+', r'.+\b(\d{1,9})"?'):
        numbers = {int(match[1]) for line in lines if (match := re.fullmatch(pattern, line))}
        if len(lines) > 1 and numbers in ({*range(len(lines))}, {*range(1, len(lines) + 1)}):
            return True
    return False
