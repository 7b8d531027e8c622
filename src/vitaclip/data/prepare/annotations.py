"""What official annotations say, in one form for all data sets, and the small readers that their files share."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitaclip.catalog import ClassList
from vitaclip.names import ClassIndex

Times = tuple[int, int]


@dataclass(frozen=True)
class Clip:
    """One line of the annotations."""

    list_name: str
    """The list that it goes into: `train`, `test1`."""
    key: str
    """What identifies its video: a YouTube id, or the file's name without ending."""
    class_name: str
    """Its class, as the catalogue spells it."""
    times: Times | None = None
    """First and last second, where the data set cuts clips out of longer videos."""

    @property
    def file_stem(self) -> str:
        """The official name of its file, without ending."""
        return self.key if self.times is None else f"{self.key}_{self.times[0]:06d}_{self.times[1]:06d}"


@dataclass(frozen=True)
class Annotations:
    """All that the annotation files of a data set say."""

    classes: ClassList
    clips: tuple[Clip, ...]
    disjoint: tuple[tuple[str, ...], ...]
    """Groups of lists that may not share a video."""
    notes: tuple[str, ...] = ()
    """What was passed over, a line each."""


class ClassNames:
    """Joins the class names of annotations to those of the catalogue, by name."""

    def __init__(self, classes: ClassList) -> None:
        self._dataset, self._names = classes.dataset, classes.names
        self._index = ClassIndex(classes.names)
        self._spelling: dict[str, str] = {}  # the one spelling of each, by its small letters

    def find(self, name: str, source: str) -> str:
        """The catalogue's spelling.

        Raises:
            ValueError: no such class, or two spellings that differ in capitals alone.
        """
        earlier = self._spelling.setdefault(name.casefold(), name)
        if earlier != name:
            raise ValueError(
                f"{source}: class {name!r} differs from {earlier!r} in capitals alone; write it one way everywhere"
            )
        number = self._index.find(name)
        if number is None:
            raise ValueError(f"{source}: {name!r} is no class of {self._dataset}; are these its annotations?")
        return self._names[number]


def annotation_file(folder: Path, names: Sequence[str]) -> Path | None:
    """The file of a folder that goes by one of these names."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def require_folder(path: Path, holds: str) -> None:
    """Raises ValueError unless `path` is a folder."""
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        raise ValueError(f"{path}: {what}; --annotations takes the folder that holds {holds}")


def read_text(file: Path) -> str:
    """The text of an annotation file.

    Raises:
        ValueError: it cannot be read, is not text, or is empty.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: is not UTF-8 text; download the annotations again") from error
    if not text.strip():
        raise ValueError(f"{file}: is empty; download the annotations again")
    if text.lstrip()[:15].lower().startswith(("<!doctype", "<html")):
        raise ValueError(f"{file}: is a web page, not annotations; download the file itself")
    return text


def read_lines(file: Path) -> list[tuple[str, str]]:
    """(place, stripped text) of the lines that are not blank."""
    lines = enumerate(read_text(file).splitlines(), start=1)
    return [(f"{file}:{number}", line.strip()) for number, line in lines if line.strip()]


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: it cannot be read or breaks off.
    """
    try:
        return json.loads(read_text(file))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}: is no JSON or breaks off (line {error.lineno}); download it again") from error
