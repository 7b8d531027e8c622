"""The annotations of Kinetics-400, 600 and 700: csv files of label, youtube_id, time_start, time_end, split."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from vitaclip.catalog import ClassList
from vitaclip.data.prepare.annotations import Annotations, ClassNames, Clip, Times, read_text

_COLUMNS = frozenset({"youtube_id", "time_start", "time_end", "split"})
_LISTS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}
_HOLDS = "csv files with the columns label,youtube_id,time_start,time_end,split"


def read_kinetics(source: Path, classes: ClassList) -> Annotations:
    """Reads one csv file, or all those of a folder that have the right columns.

    Raises:
        ValueError: none is there, or a line is wrong.
    """
    if source.is_dir():
        files = sorted(source.glob("*.csv"))
    elif source.is_file():
        files = [source]
    else:
        raise ValueError(f"{source}: does not exist; --annotations takes {_HOLDS}, or a folder of them")
    clips: dict[Clip, None] = {}  # a clip may stand in a file of its split and in one of all splits
    notes: list[str] = []
    for file in files:
        text = read_text(file)
        columns = set(_fields(text.split("\n", 1)[0]))
        if not columns >= _COLUMNS:
            notes.append(f"{file.name}: passed over, its columns are not those of Kinetics")
        elif "label" not in columns:
            notes.append(f"{file.name}: passed over, it has no labels")
        else:
            clips |= dict.fromkeys(_read_file(file, text, ClassNames(classes)))
    if not clips:
        raise ValueError(f"{source}: holds no annotations of Kinetics; give {_HOLDS}")
    return Annotations(classes, tuple(clips), (("train", "val", "test"),), tuple(notes))


def _fields(line: str) -> list[str]:
    return [field.strip() for field in next(csv.reader([line]), [])]


def _read_file(file: Path, text: str, names: ClassNames) -> Iterator[Clip]:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    for row in reader:
        place = f"{file}:{reader.line_num}"
        if any(row.get(column) in (None, "") for column in ("label", *_COLUMNS)):
            raise ValueError(f"{place}: the line breaks off; download the annotations again")
        list_name = _LISTS.get(row["split"].strip())
        if list_name is None:
            raise ValueError(f"{place}: split {row['split']!r} is none of {', '.join(_LISTS)}")
        yield Clip(list_name, row["youtube_id"].strip(), names.find(row["label"].strip(), place), _times(row, place))


def _times(row: dict[str, str], place: str) -> Times:
    try:
        return int(float(row["time_start"])), int(float(row["time_end"]))
    except ValueError:
        raise ValueError(
            f"{place}: times {row['time_start']!r}, {row['time_end']!r} are no seconds; download it again"
        ) from None
