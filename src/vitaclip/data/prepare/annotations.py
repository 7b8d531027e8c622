"""The official annotations of the standard data sets, in one form for all."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vitaclip.catalog import ClassList, load_dataset_classes
from vitaclip.names import ClassIndex
from vitaclip.untrusted import read_bytes, reading

Times = tuple[int, int]
Entry = tuple[str, str, str, Times | None, str]
"""List, key and times as in `Segment`; the class as the annotations spell it; the place, for messages. One without a
list only names a class."""

_MAX_BYTES = 2**30
_REMEDY = "download the annotations again"
_KINETICS_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
_KINETICS_LISTS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}
_SPLITS = (1, 2, 3)
_HMDB51_FOLDER, _HMDB51_USES = "testTrainMulti_7030_splits", {"0": "", "1": "train", "2": "test"}
_SSV2_FILES = {"": "labels.json", "train": "train.json", "val": "validation.json"}


@dataclass(frozen=True)
class Segment:
    """One line of the annotations."""

    list_name: str
    """The list that it goes into: `train`, `test1`."""
    key: str
    """What identifies its video: a YouTube id, or the file's name without ending."""
    class_name: str
    """Its class, as the catalogue spells it."""
    times: Times | None
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
    """Each once, also where it stands in a file of its split and in one of all splits."""
    notes: tuple[str, ...]
    """What was passed over, a line each."""


def read_annotations(dataset: str, source: Path) -> Annotations:
    """Read the files of a data set, and join their class names to those of the catalogue, by name: numbers are not
    looked at.

    Raises:
        ValueError: no annotations are there, a line is wrong, no such class, or two spellings of one that differ in
            capitals alone.
        OSError: a list is missing.
    """
    if dataset not in DATASETS:
        raise ValueError(f"{dataset!r} is no data set that can be prepared; there is {', '.join(DATASETS)}")
    layout, classes = DATASETS[dataset], load_dataset_classes(dataset)
    if not (source.is_dir() or (layout.may_be_file and source.exists())):
        what = "is a file, not a folder" if source.exists() else "does not exist"
        raise ValueError(f"{source}: {what}; --annotations takes {layout.takes}")
    index, notes = ClassIndex(classes.names), list[str]()
    spelling: dict[str, str] = {}  # the one spelling of each class, by its small letters
    clips: dict[Segment, None] = {}
    for list_name, key, name, times, place in layout.read(source, notes):
        earlier = spelling.setdefault(name.casefold(), name)
        if earlier != name:
            problem = f"class {name!r} differs from {earlier!r} in capitals alone; write it one way everywhere"
            raise ValueError(f"{place}: {problem}")
        number = index.find(name)
        if number is None:
            raise ValueError(f"{place}: {name!r} is no class of {dataset}; are these its annotations?")
        if list_name:
            clips[Segment(list_name, key, classes.names[number], times)] = None
    if not clips:
        raise ValueError(f"{source}: holds no annotations of {dataset}; --annotations takes {layout.takes}")
    return Annotations(classes, tuple(clips), tuple(notes))


def _kinetics(source: Path, notes: list[str]) -> Iterator[Entry]:
    for file in sorted(source.glob("*.csv")) if source.is_dir() else [source]:
        rows = csv.DictReader(io.StringIO(_read_text(file), newline=""), skipinitialspace=True)
        rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
        lacking = [name for name in _KINETICS_COLUMNS if name not in rows.fieldnames]
        if lacking:
            why = "it has no labels" if lacking == ["label"] else "its columns are not those of Kinetics"
            notes.append(f"{file.name}: passed over, {why}")
            continue
        for row in rows:
            place, cells = f"{file}:{rows.line_num}", [(row[name] or "").strip() for name in _KINETICS_COLUMNS]
            if not all(cells):
                raise ValueError(f"{place}: the line breaks off; {_REMEDY}")
            label, key, start, end, split = cells
            if split not in _KINETICS_LISTS:
                raise ValueError(f"{place}: split {split!r} is none of {', '.join(_KINETICS_LISTS)}")
            try:
                times = int(float(start)), int(float(end))
            except ValueError:
                raise ValueError(f"{place}: times {start!r}, {end!r} are no seconds; {_REMEDY}") from None
            yield _KINETICS_LISTS[split], key, label, times, place


def _ucf101(source: Path, notes: list[str]) -> Iterator[Entry]:
    """Lines `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`, without the number in test lists."""
    if (source / "classInd.txt").exists():
        for place, line in _read_lines(source / "classInd.txt"):
            yield "", "", line.split(maxsplit=1)[-1], None, place
    for part, split in ((part, split) for split in _SPLITS for part in ("train", "test")):
        for place, line in _read_lines(source / f"{part}list{split:02d}.txt"):
            folder, slash, name = line.split()[0].partition("/")
            if not slash:
                raise ValueError(f"{place}: {line!r} has no class folder; {_REMEDY}")
            yield f"{part}{split}", Path(name).stem, folder, None, place


def _hmdb51(source: Path, notes: list[str]) -> Iterator[Entry]:
    """Lines `file.avi 0` of a file for each class and split: 1 for train, 2 for test, 0 for neither."""
    folder = source / _HMDB51_FOLDER if (source / _HMDB51_FOLDER).is_dir() else source
    for split in _SPLITS:
        ending = f"_test_split{split}.txt"
        files = sorted(folder.glob(f"*{ending}"))
        if not files:
            raise ValueError(f"{folder}: holds no file CLASS{ending}; unpack test_train_splits.rar there")
        for file in files:
            for place, line in _read_lines(file):
                name, _, use = line.rpartition(" ")  # names hold every sign but blanks
                if use not in _HMDB51_USES or not name:
                    raise ValueError(f"{place}: {line!r} is not `file.avi 0`, 1 or 2; {_REMEDY}")
                list_name = _HMDB51_USES[use] and f"{_HMDB51_USES[use]}{split}"
                yield list_name, Path(name.strip()).stem, file.name.removesuffix(ending), None, place


def _ssv2(source: Path, notes: list[str]) -> Iterator[Entry]:
    """Lists of `{"id": "7", "template": "Putting [something] on a surface"}`; a class is the template without
    brackets."""
    for list_name, name in _SSV2_FILES.items():
        files = [source / f"{prefix}{name}" for prefix in ("", "something-something-v2-")]
        file = next(filter(Path.is_file, files), None)
        if file is None:
            notes.append(f"{name}: is not there")
            continue
        for number, entry in enumerate(_read_json(file)):
            clip = entry if list_name else {"id": "", "template": entry}
            if not isinstance(clip, dict) or not {"id", "template"} <= set(clip):
                raise ValueError(f"{file}: entry {number} has no id or no template; {_REMEDY}")
            template = str(clip["template"]).replace("[", "").replace("]", "")
            yield list_name, str(clip["id"]), template, None, f"{file}, entry {number}"


def _read_text(file: Path) -> str:
    with reading(file, _REMEDY):
        text = read_bytes(file, _MAX_BYTES).decode("utf-8-sig")
        if not text.strip():
            raise ValueError(f"{file}: is empty; {_REMEDY}")
        if text.lstrip()[:15].lower().startswith(("<!doctype", "<html")):
            raise ValueError(f"{file}: is a web page, not annotations; download the file itself")
        return text


def _read_lines(file: Path) -> Iterator[tuple[str, str]]:
    """(place, stripped text) of the lines that are not blank."""
    for number, line in enumerate(_read_text(file).splitlines(), start=1):
        if line.strip():
            yield f"{file}:{number}", line.strip()


def _read_json(file: Path) -> Any:
    with reading(file, _REMEDY):
        try:
            content = json.loads(_read_text(file))
        except json.JSONDecodeError as error:
            raise ValueError(f"{file}: is no JSON or breaks off (line {error.lineno}); {_REMEDY}") from error
    if not isinstance(content, list | dict):
        raise ValueError(f"{file}: is no list of videos or classes; {_REMEDY}")
    return content


class _Layout(NamedTuple):
    read: Callable[[Path, list[str]], Iterator[Entry]]
    """Gives what the files say, and adds to the list what was passed over."""
    takes: str
    """What --annotations is to be, for messages."""
    may_be_file: bool = False


_KINETICS = _Layout(_kinetics, f"csv files with the columns {','.join(_KINETICS_COLUMNS)}, or a folder of them", True)
DATASETS = {
    "kinetics400": _KINETICS,
    "kinetics600": _KINETICS,
    "kinetics700": _KINETICS,
    "ucf101": _Layout(_ucf101, "the folder that holds classInd.txt, trainlist01.txt ... testlist03.txt"),
    "hmdb51": _Layout(_hmdb51, f"the folder that holds {_HMDB51_FOLDER}, or is that folder"),
    "ssv2": _Layout(_ssv2, "the folder that holds labels.json, train.json, validation.json"),
}
"""The data sets that can be prepared, and how their annotations are laid out."""
