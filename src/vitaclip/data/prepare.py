"""Lists of a standard data set: its official annotations joined to the video files that are really there."""

import csv
import io
import json
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from vitaclip.catalog import ClassList, load_dataset_classes
from vitaclip.data.lists.video_list import find_videos_below
from vitaclip.files import csv_text, write_text
from vitaclip.names import ClassIndex
from vitaclip.untrusted import read_bytes, reading

Times = tuple[int, int]
_Entry = tuple[str, str, str, Times | None, str]
"""List, key, class as the annotations spell it, times, and the place for messages."""

_File = tuple[Path, str | None, Times | None]
"""A video file, the class of the nearest folder that is called like one, and the times in its name."""

_MAX_BYTES = 2**30
_REMEDY = "download the annotations again"
_KINETICS_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
_KINETICS_LISTS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}
_HMDB51_FOLDER, _HMDB51_USES = "testTrainMulti_7030_splits", {"0": "", "1": "train", "2": "test"}
_SSV2_FILES = {"train": "train.json", "val": "validation.json"}
_SPLITS = (1, 2, 3)
_TIMED = re.compile(r"(?P<key>.{11,})_(?P<start>[0-9]{1,6})_(?P<end>[0-9]{1,6})")  # a YouTube id has 11 characters


class Clip(NamedTuple):
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


class Preparation(NamedTuple):
    """A data set's lists, before they are written."""

    classes: ClassList
    found: dict[Clip, Path]
    """The file of each clip that has one."""
    missing: dict[Clip, str]
    """Why the others have none."""
    notes: list[str]
    """What was passed over, a line each."""

    def counts(self) -> dict[str, tuple[int, int]]:
        """How many clips of each list were found, and how many are missing."""
        found, missing = (Counter(clip.list_name for clip in clips) for clips in (self.found, self.missing))
        return {name: (found[name], missing[name]) for name in found | missing}


def prepare_dataset(dataset: str, root: str | Path, annotations: str | Path) -> Preparation:
    """Join the official annotations of a data set to the files below a folder, at any depth. Nothing is written.

    Classes are joined to the catalogue's by name; numbers in annotations are not looked at. A file is known by its
    name: of Kinetics by YouTube id and times, or by the id alone where only one clip can be meant. A file in the folder
    of another class is not taken. Of a clip that stands in a list twice, the first line counts.

    Args:
        dataset: one of `DATASETS`.
        root: folder of the videos.
        annotations: folder of the official annotation files; for Kinetics also a single csv file.

    Raises:
        ValueError: a wrong folder, annotations that cannot be read, a class the data set does not have, or no video
            found at all.
        OSError: an annotation file is missing.
    """
    if dataset not in DATASETS:
        raise ValueError(f"{dataset!r} is no data set that can be prepared; there is {', '.join(DATASETS)}")
    source, root, notes = Path(annotations), Path(root), list[str]()
    for place, option in ((source, "annotations"), (root, "root")):
        if not place.exists():
            raise ValueError(f"{place}: does not exist; check --{option}")
    classes, once = load_dataset_classes(dataset), dict[tuple[object, ...], Clip]()
    index = ClassIndex(classes.names)
    for list_name, key, name, times, where in DATASETS[dataset][0](source, notes):
        number = index.find(name)
        if number is None:
            raise ValueError(f"{where}: {name!r} is no class of {dataset}; are these its annotations?")
        clip = Clip(list_name, key, classes.names[number], times)
        # Files of two classes may share a name where nothing but the folder parts them.
        once.setdefault((list_name, key, times or clip.class_name), clip)
    if not once:
        raise ValueError(f"{source}: holds no annotations of {dataset}; --annotations takes {DATASETS[dataset][1]}")
    files, meant = _find_files(root, index, any(clip.times for clip in once.values())), defaultdict[str, set[Clip]](set)
    for clip in once.values():
        meant[clip.key].add(clip._replace(list_name=""))
    matches = {
        clip: _match(clip, files.get(_fold(clip.key, clip.times), []), meant[clip.key]) for clip in once.values()
    }
    found = {clip: match for clip, match in matches.items() if isinstance(match, Path)}
    if not found:
        what = f"none of the {len(matches)} annotated clips was found, such as {next(iter(matches)).file_stem}"
        raise ValueError(f"{root}: {what}; check --root and --annotations")
    return Preparation(classes, found, {clip: why for clip, why in matches.items() if isinstance(why, str)}, notes)


def _find_files(root: Path, index: ClassIndex, have_times: bool) -> dict[str, list[_File]]:
    """The video files below a folder, by the key that their names say."""
    files: dict[str, list[_File]] = defaultdict(list)
    for path in find_videos_below(root):
        if path.is_file() and path.stat().st_size:
            match = _TIMED.fullmatch(path.stem) if have_times else None
            times = (int(match["start"]), int(match["end"])) if match else None
            numbers = map(index.find, path.relative_to(root).parts[-2::-1])
            of_class = next((index.names[number] for number in numbers if number is not None), None)
            files[_fold(match["key"] if match else path.stem, have_times)].append((path, of_class, times))
    return files


def _fold(key: str, has_times: object) -> str:
    # Capitals differ between lists and files (HandstandPushups/v_HandStandPushups_g01_c01.avi), but tell ids apart.
    return key if has_times else key.casefold()


def _match(clip: Clip, files: Sequence[_File], meant: Collection[Clip]) -> Path | str:
    """The file of a clip among those of its key, or why there is none; `meant` are all clips of the key."""

    def fits(class_name: str | None, times: Times | None) -> bool:
        if class_name not in (None, clip.class_name) or times not in (None, clip.times):
            return False
        # A name without times may mean any clip of its video, of its class if it lies in a class's folder.
        return times is not None or len({c.times for c in meant if class_name in (None, c.class_name)}) == 1

    fitting = [file for file in files if fits(*file[1:])]
    if not fitting:
        return f"of other times, of another class or ambiguous: {files[0][0]}" if files else "not found"
    # The best has the times in its name, is in the folder of its class, then in that of its list.
    return min(fitting, key=lambda f: (f[2] is None, f[1] is None, clip.list_name not in f[0].parts, f[0]))[0]


def write_preparation(preparation: Preparation, out: str | Path) -> None:
    """Write a folder: a list `<name>.csv` each (full path, class as texts word it), `classes.txt`, and `missing.txt`
    (list, class, file, reason). The folder appears complete or not at all.

    Raises:
        ValueError: the folder exists and is not empty.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out}: exists already; remove it or name another --out")
    classes, lists = preparation.classes, defaultdict[str, list[tuple[Path, str]]](list)
    wording = dict(zip(classes.names, classes.prompts, strict=True))
    for clip, path in preparation.found.items():
        lists[f"{clip.list_name}.csv"].append((path.absolute(), wording[clip.class_name]))
    missing = (f"{c.list_name}\t{c.class_name}\t{c.file_stem}\t{why}\n" for c, why in preparation.missing.items())
    texts = {name: csv_text(rows) for name, rows in lists.items()}
    texts |= {"classes.txt": "".join(f"{name}\n" for name in classes.prompts), "missing.txt": "".join(missing)}
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        for name, text in texts.items():
            write_text(temporary / name, text)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # gone already if all went well


def _kinetics(source: Path, notes: list[str]) -> Iterator[_Entry]:
    """Files with the columns `label,youtube_id,time_start,time_end,split`."""
    for file in sorted(source.glob("*.csv")) if source.is_dir() else [source]:
        rows = csv.DictReader(io.StringIO(_read_text(file), newline=""), skipinitialspace=True)
        if lacking := [name for name in _KINETICS_COLUMNS if name not in (rows.fieldnames or ())]:
            notes.append(f"{file.name}: passed over, it has no column {', '.join(lacking)}")
            continue
        for row in rows:
            place, cells = f"{file}:{rows.line_num}", [(row[name] or "").strip() for name in _KINETICS_COLUMNS]
            label, key, start, end, split = cells
            if not all(cells) or split not in _KINETICS_LISTS:
                raise ValueError(f"{place}: the line breaks off or its split {split!r} is unknown; {_REMEDY}")
            try:
                times = int(float(start)), int(float(end))
            except ValueError:
                raise ValueError(f"{place}: times {start!r}, {end!r} are no seconds; {_REMEDY}") from None
            yield _KINETICS_LISTS[split], key, label, times, place


def _ucf101(source: Path, notes: list[str]) -> Iterator[_Entry]:
    """Lines `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`, without the number in test lists."""
    for part, split in ((part, split) for split in _SPLITS for part in ("train", "test")):
        for place, line in _read_lines(source / f"{part}list{split:02d}.txt"):
            folder, slash, name = line.split()[0].partition("/")
            if not slash:
                raise ValueError(f"{place}: {line!r} has no class folder; {_REMEDY}")
            yield f"{part}{split}", Path(name).stem, folder, None, place


def _hmdb51(source: Path, notes: list[str]) -> Iterator[_Entry]:
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
                if use != "0":
                    stem, class_name = Path(name.strip()).stem, file.name.removesuffix(ending)
                    yield f"{_HMDB51_USES[use]}{split}", stem, class_name, None, place


def _ssv2(source: Path, notes: list[str]) -> Iterator[_Entry]:
    """Lists of `{"id": "7", "template": "Putting [something] on a surface"}`; a class is the template without
    brackets."""
    for list_name, name in _SSV2_FILES.items():
        file = next(filter(Path.is_file, (source / name, source / f"something-something-v2-{name}")), None)
        if file is None:
            notes.append(f"{name}: is not there")
            continue
        with reading(file, _REMEDY):
            entries = json.loads(_read_text(file))
        for number, entry in enumerate(entries):
            if not isinstance(entry, dict) or not {"id", "template"} <= set(entry):
                raise ValueError(f"{file}: entry {number} has no id or no template; {_REMEDY}")
            template = str(entry["template"]).replace("[", "").replace("]", "")
            yield list_name, str(entry["id"]), template, None, f"{file}, entry {number}"


def _read_text(file: Path) -> str:
    with reading(file, _REMEDY):
        return read_bytes(file, _MAX_BYTES).decode("utf-8-sig")


def _read_lines(file: Path) -> Iterator[tuple[str, str]]:
    """(place, stripped text) of the lines that are not blank."""
    for number, line in enumerate(_read_text(file).splitlines(), start=1):
        if line.strip():
            yield f"{file}:{number}", line.strip()


_KINETICS = _kinetics, f"csv files with the columns {','.join(_KINETICS_COLUMNS)}, or a folder of them"
DATASETS: dict[str, tuple[Callable[[Path, list[str]], Iterator[_Entry]], str]] = {
    "kinetics400": _KINETICS,
    "kinetics600": _KINETICS,
    "kinetics700": _KINETICS,
    "ucf101": (_ucf101, "the folder that holds trainlist01.txt ... testlist03.txt"),
    "hmdb51": (_hmdb51, f"the folder that holds {_HMDB51_FOLDER}, or is that folder"),
    "ssv2": (_ssv2, "the folder that holds train.json, validation.json"),
}
"""The data sets that can be prepared: what reads their annotations and notes what it passed over, and where from."""
