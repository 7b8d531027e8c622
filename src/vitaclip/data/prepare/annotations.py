"""The official annotations of the standard data sets, in one form for all."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitaclip.catalog import ClassList
from vitaclip.names import ClassIndex
from vitaclip.untrusted import read_bytes, reading

Times = tuple[int, int]

_MAX_BYTES = 2**30
_REMEDY = "download the annotations again"
_KINETICS_COLUMNS = frozenset({"youtube_id", "time_start", "time_end", "split"})
_KINETICS_LISTS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}
_KINETICS_FILES = "csv files with the columns label,youtube_id,time_start,time_end,split"
_SPLITS = (1, 2, 3)
_SPLIT_GROUPS = tuple((f"train{split}", f"test{split}") for split in _SPLITS)
_HMDB51_FOLDER, _HMDB51_USES = "testTrainMulti_7030_splits", {"0": "", "1": "train", "2": "test"}
_SSV2_PREFIX, _SSV2_LISTS = "something-something-v2-", {"train": "train.json", "val": "validation.json"}


@dataclass(frozen=True)
class Segment:
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
    clips: tuple[Segment, ...]
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


def read_kinetics(source: Path, classes: ClassList) -> Annotations:
    """Read one csv file, or all those of a folder that have the right columns.

    Raises:
        ValueError: none is there, or a line is wrong.
    """
    if not source.exists():
        raise ValueError(f"{source}: does not exist; --annotations takes {_KINETICS_FILES}, or a folder of them")
    names, notes = ClassNames(classes), []
    clips: dict[Segment, None] = {}  # a clip may stand in a file of its split and in one of all splits
    for file in sorted(source.glob("*.csv")) if source.is_dir() else [source]:
        rows = csv.DictReader(io.StringIO(_read_text(file), newline=""), skipinitialspace=True)
        rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
        if not {*rows.fieldnames} >= _KINETICS_COLUMNS:
            notes.append(f"{file.name}: passed over, its columns are not those of Kinetics")
        elif "label" not in rows.fieldnames:
            notes.append(f"{file.name}: passed over, it has no labels")
        else:
            clips |= dict.fromkeys(_kinetics_clip(row, names, f"{file}:{rows.line_num}") for row in rows)
    if not clips:
        raise ValueError(f"{source}: holds no annotations of Kinetics; give {_KINETICS_FILES}")
    return Annotations(classes, tuple(clips), (("train", "val", "test"),), tuple(notes))


def _kinetics_clip(row: Mapping[str, str | None], names: ClassNames, place: str) -> Segment:
    label, key, start, end, split = (row[name] for name in ("label", "youtube_id", "time_start", "time_end", "split"))
    if not (label and key and start and end and split):
        raise ValueError(f"{place}: the line breaks off; {_REMEDY}")
    if split.strip() not in _KINETICS_LISTS:
        raise ValueError(f"{place}: split {split!r} is none of {', '.join(_KINETICS_LISTS)}")
    try:
        times = int(float(start)), int(float(end))
    except ValueError:
        raise ValueError(f"{place}: times {start!r}, {end!r} are no seconds; {_REMEDY}") from None
    return Segment(_KINETICS_LISTS[split.strip()], key.strip(), names.find(label.strip(), place), times)


def read_ucf101(source: Path, classes: ClassList) -> Annotations:
    """Read `trainlist01.txt` to `testlist03.txt`: `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`, the number left
    out in test lists. A clip's class is its folder in the list; numbers are not looked at.

    Raises:
        ValueError: a line is wrong.
        OSError: a list is missing.
    """
    _require_folder(source, "classInd.txt, trainlist01.txt ... testlist03.txt")
    names, clips = ClassNames(classes), []
    if (source / "classInd.txt").exists():
        for place, line in _read_lines(source / "classInd.txt"):
            names.find(line.split(maxsplit=1)[-1], place)
    for list_name, file in ((f"{part}{n}", f"{part}list{n:02d}.txt") for n in _SPLITS for part in ("train", "test")):
        for place, line in _read_lines(source / file):
            folder, slash, name = line.split()[0].partition("/")
            if not slash:
                raise ValueError(f"{place}: {line!r} has no class folder; {_REMEDY}")
            clips.append(Segment(list_name, Path(name).stem, names.find(folder, place)))
    return Annotations(classes, tuple(clips), _SPLIT_GROUPS)


def read_hmdb51(source: Path, classes: ClassList) -> Annotations:
    """Read `CLASS_test_split{1,2,3}.txt`, whose lines are `file.avi 0 `: 1 for train, 2 for test, 0 for neither.

    Raises:
        ValueError: the files of a class or split are missing, or a line is wrong.
    """
    _require_folder(source, f"{_HMDB51_FOLDER}, or is that folder")
    folder = source / _HMDB51_FOLDER if (source / _HMDB51_FOLDER).is_dir() else source
    names, clips = ClassNames(classes), []
    for split in _SPLITS:
        ending = f"_test_split{split}.txt"
        files = sorted(folder.glob(f"*{ending}"))
        if not files:
            raise ValueError(f"{folder}: holds no file CLASS{ending}; unpack test_train_splits.rar there")
        for file in files:
            class_name = names.find(file.name.removesuffix(ending), str(file))
            for place, line in _read_lines(file):
                name, _, use = line.rpartition(" ")  # names hold every sign but blanks
                if use not in _HMDB51_USES or not name:
                    raise ValueError(f"{place}: {line!r} is not `file.avi 0`, 1 or 2; {_REMEDY}")
                if _HMDB51_USES[use]:
                    clips.append(Segment(f"{_HMDB51_USES[use]}{split}", Path(name.strip()).stem, class_name))
    return Annotations(classes, tuple(clips), _SPLIT_GROUPS)


def read_ssv2(source: Path, classes: ClassList) -> Annotations:
    """Read `train.json` and `validation.json`, lists of `{"id": "7", "template": "Putting [something] on a surface"}`.

    A class is the template without brackets. `labels.json` must name the same classes; its numbers are not looked at.

    Raises:
        ValueError: neither list is there, or an entry is wrong.
    """
    _require_folder(source, "labels.json, train.json, validation.json")
    names, notes = ClassNames(classes), []
    clips: list[Segment] = []
    files = {name: _ssv2_file(source, name) for name in ("labels.json", *_SSV2_LISTS.values(), "test.json")}
    if labels := files["labels.json"]:
        for label in _read_json(labels):
            names.find(_without_brackets(label), str(labels))
    for list_name, name in _SSV2_LISTS.items():
        if file := files[name]:
            clips += _ssv2_clips(file, list_name, names)
        else:
            notes.append(f"{name}: is not there")
    if not clips:
        raise ValueError(f"{source}: holds neither train.json nor validation.json; give the folder of the labels")
    if files["test.json"]:
        notes.append("test.json: passed over, it has no labels")
    return Annotations(classes, tuple(clips), (("train", "val"),), tuple(notes))


def _ssv2_file(folder: Path, name: str) -> Path | None:
    return next(
        (folder / f"{prefix}{name}" for prefix in ("", _SSV2_PREFIX) if (folder / f"{prefix}{name}").is_file()), None
    )


def _ssv2_clips(file: Path, list_name: str, names: ClassNames) -> Iterator[Segment]:
    entries = _read_json(file)
    if not isinstance(entries, list):
        raise ValueError(f"{file}: is no list of videos; {_REMEDY}")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not {"id", "template"} <= set(entry):
            raise ValueError(f"{file}: entry {number} has no id or no template; {_REMEDY}")
        name = _without_brackets(str(entry["template"]))
        yield Segment(list_name, str(entry["id"]), names.find(name, f"{file}, entry {number}"))


def _without_brackets(template: str) -> str:
    return template.replace("[", "").replace("]", "")


def _require_folder(path: Path, holds: str) -> None:
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        raise ValueError(f"{path}: {what}; --annotations takes the folder that holds {holds}")


def _read_text(file: Path) -> str:
    with reading(file, _REMEDY):
        text = read_bytes(file, _MAX_BYTES).decode("utf-8-sig")
        if not text.strip():
            raise ValueError(f"{file}: is empty; {_REMEDY}")
        if text.lstrip()[:15].lower().startswith(("<!doctype", "<html")):
            raise ValueError(f"{file}: is a web page, not annotations; download the file itself")
        return text


def _read_lines(file: Path) -> Sequence[tuple[str, str]]:
    """(place, stripped text) of the lines that are not blank."""
    lines = enumerate(_read_text(file).splitlines(), start=1)
    return [(f"{file}:{number}", line.strip()) for number, line in lines if line.strip()]


def _read_json(file: Path) -> Any:
    with reading(file, _REMEDY):
        try:
            return json.loads(_read_text(file))
        except json.JSONDecodeError as error:
            raise ValueError(f"{file}: is no JSON or breaks off (line {error.lineno}); {_REMEDY}") from error


DATASETS: dict[str, Callable[[Path, ClassList], Annotations]] = {
    "kinetics400": read_kinetics,
    "kinetics600": read_kinetics,
    "kinetics700": read_kinetics,
    "ucf101": read_ucf101,
    "hmdb51": read_hmdb51,
    "ssv2": read_ssv2,
}
"""The reader of each data set's annotations."""
