"""Where videos come from: a list file, a folder of class folders, tar files; always with the names of the classes,
which a setting may give too; and which
of them are trained on: a few of each class, or those that validation does not take.
"""

import glob
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

import numpy as np

from vitaclip.catalog import dataset_names, load_dataset_classes
from vitaclip.data.labels import LabelReader, format_labels, single_labels
from vitaclip.data.lists.video_list import (
    VideoList,
    VideoSample,
    content_lines,
    find_videos_below,
    read_list,
    read_text,
)
from vitaclip.data.reading.container import VIDEO_SUFFIXES, VideoError
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.reading.tar import read_shard, to_video_path
from vitaclip.data.sampling import Stream, generator
from vitaclip.files import csv_text
from vitaclip.names import ClassIndex, check_class_names, in_words, quoted
from vitaclip.strings import counted, did_you_mean

_TAR_NAME = re.compile(r"\.(?:tar(?:\.\w+)?|tgz|tbz2|txz)$", re.IGNORECASE)
_CLIP_OF_FILM = re.compile(
    r"_[0-9]{6}_[0-9]{6}$"  # Kinetics: first and last second
    r"|_[a-z]+_(?:cm|nm)_np[0-9]_(?:ba|fr|le|ri)_(?:bad|goo|med)_[0-9]+$"  # HMDB51: what is seen, and the clip's number
    r"|[ _.-](?:c|clip|part|scene|seg|segment|shot)[ _-]?[0-9]+$",  # UCF101 and others: the clip's number
    re.IGNORECASE,
)
CLASSES_REMEDY = (
    "give a file with one name a line, a name that `vitaclip list classes` lists, or names with commas between"
)
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}


def read_videos(
    source: str,
    setting: str,
    *,
    root: str = "",
    classes: str = "",
    class_names: Sequence[str] | None = None,
    keep_absent: bool = False,
    may_be_numbers: bool = False,
) -> VideoList:
    """Read and check the videos of a setting.

    Args:
        source: a list file, a folder of class folders, or what `read_shards` takes.
        setting: what the user calls it, for messages, such as `data.train`.
        root: folder that paths of a list are relative to; empty: the list's own.
        classes: as `choose_classes` takes it; empty: `class_names`, or else the names of the folders or in the list.
        class_names: class names already known.
        keep_absent: see `VideoList.checked`; for evaluations whose `on_error` is "skip".
        may_be_numbers: without class names, take the labels of a list or of tar files as numbers.

    Raises:
        ValueError: if there is nothing there, if only the numbers of classes are known, or for any bad line.

    >>> read_videos("videos", "data.train").class_names
    ('red heart moving left', 'red heart moving right')
    """
    if not source:
        raise ValueError(f"{setting} is not set; give a list file or a folder with one folder per class")
    names = choose_classes(classes) if classes else class_names
    if names_shards(source):
        videos = read_shards(source, names)
    elif not Path(source).exists():
        raise ValueError(f"{setting} = {source}: does not exist; check the path")
    elif Path(source).is_dir():
        videos = read_folder(source, names)
    else:
        videos = read_list(source, root or None, names)
    videos = videos.checked(source, keep_absent=keep_absent)
    if not videos.class_names and not may_be_numbers:
        raise ValueError(
            f"{setting} = {source}: its labels are numbers, which need class names in data.classes; {CLASSES_REMEDY}"
        )
    return videos


def read_folder(root: str | Path, class_names: Sequence[str] | None = None) -> VideoList:
    """Read a folder that holds one folder of videos for each class, at any depth in it.

    A class is named like its folder, with blanks for underscores. Classes are numbered in the order of the sorted
    folder names, or in that of `class_names`, which may name more classes than there are folders, and spell them
    otherwise (see `ClassIndex`). Files without a video's ending and hidden ones are passed over.

    Problems of the list are a folder without videos or that `class_names` does not name, and two folders of one class.

    Raises:
        ValueError: no class folder, or a folder of such folders.
    """
    root = Path(root)
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    videos: dict[str, list[Path]] = {folder.name: [] for folder in folders}
    beside = list[Path]()
    for path in find_videos_below(root):
        first, *rest = path.relative_to(root).parts or ("",)
        (videos[first] if rest else beside).append(path)
    found = [in_words(name) for name in videos]
    _check_level(root, videos, beside, ClassIndex(class_names or ()))
    names = check_class_names(found if class_names is None else class_names, str(root))
    index, folder_of = ClassIndex(names), dict[int, str]()
    problems, samples = list[str](), list[VideoSample]()
    for folder, name in zip(videos, found, strict=True):
        label = index.find(folder)
        if label is None:
            hint = did_you_mean(name, names)
            problems.append(f"{root / folder}: no class is called {quoted(name)}{hint}; rename or remove the folder")
        elif folder_of.setdefault(label, folder) != folder:
            other = root / folder_of[label]
            problems.append(f"{root / folder}: is class {names[label]!r} like {other}; move the videos into one")
        elif not videos[folder]:
            problems.append(f"{root / folder}: holds no video; add some or remove the folder")
        else:
            samples += [VideoSample(path, (label,), str(path)) for path in videos[folder]]
    note = (
        f"no class for {counted(len(beside), 'video')} beside the class folders, such as {beside[0]}" if beside else ""
    )
    return VideoList(tuple(samples), names, note, tuple(problems))


def _check_level(root: Path, videos: Mapping[str, list[Path]], beside: list[Path], known: ClassIndex) -> None:
    """Raise ValueError if a folder seems to lie a level above or below the one that holds the class folders."""
    if beside and not any(videos.values()):
        raise ValueError(
            f"{root}: holds videos and no class folders; put those of each class into a folder named after it, or did"
            f" you mean {root.absolute().parent}?"
        )
    if not videos:
        raise ValueError(f"{root}: holds no class folders; make one for each class, named after it")
    meant = _level_of_classes(root, [path for paths in videos.values() for path in paths], known)
    if meant != root:
        raise ValueError(f"{root}: holds folders of folders; did you mean {meant}?")


def _level_of_classes(root: Path, videos: Sequence[Path], known: ClassIndex) -> Path:
    """The folder that seems to hold the class folders of videos: `root`, or one below it where all videos lie deeper
    and no folder is a known class, but one has the name of a split, is the only one, or others are known."""
    folders = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    is_deep = bool(videos) and all(len(path.relative_to(root).parts) > 2 for path in videos)
    splits = [name for name in folders if name.lower() in _SPLITS]
    if not is_deep or any(known.find(name) is not None for name in folders):
        return root
    if not (splits or len(folders) == 1 or known.names):
        return root
    below = root / (splits or folders)[0]
    return _level_of_classes(below, [path for path in videos if path.is_relative_to(below)], known)


def names_shards(source: str) -> bool:
    """Whether a source of videos is tar files: by its ending, or a folder with tar files and no folders in it (beside
    class folders, a tar file is what they were unpacked from)."""
    folder = Path(source)
    if _TAR_NAME.search(source) or not folder.is_dir():
        return bool(_TAR_NAME.search(source))
    return any(folder.glob("*.tar")) and not any(path.is_dir() for path in folder.iterdir())


def read_shards(source: str, class_names: Sequence[str] | None = None) -> VideoList:
    """Read the videos of tar files: headers and labels, nothing else.

    Args:
        source: a tar file, a folder of them, or a pattern `*.tar`.
        class_names: see `read_list`.

    The list tells as problems a tar file that is not there, compressed or cut short, a video without label, an unknown
    class. No tar file at all is a ValueError.
    """
    names = () if class_names is None else check_class_names(class_names, "class_names")
    labels, samples, problems = LabelReader(names), list[VideoSample](), list[str]()
    # Path.glob would want the place where the pattern begins.
    shards = sorted(glob.glob(source)) if "*" in source else [source]  # noqa: PTH207
    if Path(source).is_dir():
        shards = sorted(map(str, Path(source).glob("*.tar")))
    if not shards:
        raise ValueError(f"{source}: no tar file is there; check the path")
    for found, wrong in map(read_shard, shards):
        problems += wrong
        for video, label in found.items():
            try:
                samples.append(VideoSample(video, labels.read(label), str(video)))
            except ValueError as error:
                problems.append(f"{video}: {error}")
    return VideoList(tuple(samples), names, labels.note, tuple(problems))


def find_videos(paths: Sequence[str | VideoPath]) -> list[VideoPath]:
    """Videos as given, and all those below given folders, see `find_videos_below`.

    Raises:
        ValueError: if a folder holds no video, or for a whole tar file. A missing file or member is named when opened,
            like other bad ones.
    """
    found: list[VideoPath] = []
    for given in paths:
        try:
            path = to_video_path(given)
        except VideoError:
            path = Path(str(given))
        if isinstance(path, Path) and path.is_dir():
            inside = find_videos_below(path)
            if not inside:
                raise ValueError(f"{path}: no video in this folder (endings: {', '.join(sorted(VIDEO_SUFFIXES))})")
            found += inside
        elif isinstance(path, Path) and path.suffix == ".tar":
            raise ValueError(f"{path}: is a tar file; name its videos, such as {path}::KEY.mp4, or unpack it")
        else:
            found.append(path)
    return found


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


def draw_shots(
    samples: Sequence[VideoSample], class_names: Sequence[str], shots: int, seed: int
) -> tuple[VideoSample, ...]:
    """`shots` random videos of every class, in the order of the list.

    The draw of a class depends on the seed and on the samples of that class alone; fewer shots are among those of more.

    Raises:
        ValueError: a class has fewer videos.
    """
    labels = single_labels([sample.labels for sample in samples], "data.shots")
    chosen: set[int] = set()
    for label, name in enumerate(class_names):
        of_class = np.flatnonzero(labels == label)
        if len(of_class) < shots:
            videos = counted(len(of_class), "video")
            raise ValueError(f"data.shots = {shots}: class {name!r} has {videos}; lower data.shots or add videos")
        order = generator(seed, Stream.SHOTS, label).permutation(len(of_class))
        chosen.update(of_class[order[:shots]].tolist())
    return tuple(sample for index, sample in enumerate(samples) if index in chosen)


def list_text(samples: Sequence[VideoSample], class_names: Sequence[str] = ()) -> str:
    """A list file of the samples, as `read_list` takes it: full paths, and labels as names, else numbers."""
    labels = ([class_names[label] for label in each.labels] if class_names else each.labels for each in samples)
    written = zip(samples, map(format_labels, labels), strict=True)
    return csv_text((each.path.absolute(), *([text] if text else [])) for each, text in written)


def as_fraction(setting: str | float) -> float | None:
    """The number between 0 and 1 that `data.val` gives in place of a list, such as 0.2; None if it names videos.

    Raises:
        ValueError: a number beyond these, unless a path is called so.
    """
    try:
        number = float(setting)
    except ValueError:
        return None
    if 0 < number < 1:
        return number
    if Path(str(setting)).exists():
        return None
    raise ValueError(f'data.val = {setting}: give a fraction of data.train between 0 and 1, videos, or "" for none')


def film_of(sample: VideoSample) -> str:
    """The name of the film that a video was cut from: its own name without the number or the times of a clip."""
    return _CLIP_OF_FILM.sub("", PurePath(sample.path.parts[-1]).stem)


def split_validation(
    samples: Sequence[VideoSample], fraction: float, seed: int
) -> tuple[tuple[VideoSample, ...], tuple[VideoSample, ...]]:
    """Training and validation videos, in the order of the list: about that fraction of each class is for validation.

    Clips of one film stay together, because a model recognises the film otherwise. No class loses all its videos.
    """
    films: dict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        films[film_of(sample)].append(index)
    available = Counter(label for sample in samples for label in sample.labels)
    taken, chosen = Counter[int](), set[int]()
    order = sorted(films)
    for number in generator(seed, Stream.VALIDATION).permutation(len(order)).tolist():
        film = films[order[number]]
        labels = Counter(label for index in film for label in samples[index].labels)
        # Half of what comes in may lie beyond the fraction: so it is rounded, and not always cut off.
        wanted = (taken[each] + count / 2 <= fraction * available[each] for each, count in labels.items())
        if all(wanted) and all(taken[each] + count < available[each] for each, count in labels.items()):
            taken += labels
            chosen.update(film)
    parts = ([], [])  # type: tuple[list[VideoSample], list[VideoSample]]
    for index, sample in enumerate(samples):
        parts[index in chosen].append(sample)
    return tuple(parts[0]), tuple(parts[1])
