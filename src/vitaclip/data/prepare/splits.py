"""The annotations of UCF101 and HMDB51: three splits, each a training list and a test list."""

from pathlib import Path

from vitaclip.catalog import ClassList
from vitaclip.data.prepare.annotations import Annotations, ClassNames, Clip, read_lines, require_folder

_SPLITS = (1, 2, 3)
_DISJOINT = tuple((f"train{split}", f"test{split}") for split in _SPLITS)
_HMDB_FOLDER = "testTrainMulti_7030_splits"
_HMDB_USE = {"0": None, "1": "train", "2": "test"}


def read_ucf101(source: Path, classes: ClassList) -> Annotations:
    """Reads `trainlist01.txt` to `testlist03.txt`: `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`, the number left
    out in test lists. A clip's class is its folder in the list; numbers are not looked at.

    Raises:
        ValueError: a list is missing, or a line is wrong.
    """
    require_folder(source, "classInd.txt, trainlist01.txt ... testlist03.txt")
    names = ClassNames(classes)
    for place, line in _optional_lines(source / "classInd.txt"):
        names.find(line.split(maxsplit=1)[-1], place)
    clips: list[Clip] = []
    for split in _SPLITS:
        for part in ("train", "test"):
            for place, line in read_lines(source / f"{part}list{split:02d}.txt"):
                folder, slash, file = line.split()[0].partition("/")
                if not slash:
                    raise ValueError(f"{place}: {line!r} has no class folder; download the annotations again")
                clips.append(Clip(f"{part}{split}", Path(file).stem, names.find(folder, place)))
    return Annotations(classes, tuple(clips), _DISJOINT)


def read_hmdb51(source: Path, classes: ClassList) -> Annotations:
    """Reads `CLASS_test_split{1,2,3}.txt`, whose lines are `file.avi 0 `: 1 for train, 2 for test, 0 for neither.

    Raises:
        ValueError: the files of a class or split are missing, or a line is wrong.
    """
    require_folder(source, f"{_HMDB_FOLDER}, or is that folder")
    folder = source / _HMDB_FOLDER if (source / _HMDB_FOLDER).is_dir() else source
    names = ClassNames(classes)
    clips: list[Clip] = []
    for split in _SPLITS:
        ending = f"_test_split{split}.txt"
        files = sorted(folder.glob(f"*{ending}"))
        if not files:
            raise ValueError(f"{folder}: holds no file CLASS{ending}; unpack test_train_splits.rar there")
        for file in files:
            class_name = names.find(file.name.removesuffix(ending), str(file))
            for place, line in read_lines(file):
                name, _, use = line.rpartition(" ")  # names hold every sign but blanks
                if use not in _HMDB_USE or not name:
                    raise ValueError(f"{place}: {line!r} is not `file.avi 0`, 1 or 2; download the annotations again")
                if _HMDB_USE[use]:
                    clips.append(Clip(f"{_HMDB_USE[use]}{split}", Path(name.strip()).stem, class_name))
    return Annotations(classes, tuple(clips), _DISJOINT)


def _optional_lines(file: Path) -> list[tuple[str, str]]:
    return read_lines(file) if file.exists() else []
