"""Where videos come from: a list file, a folder of class folders, tar files; always with the names of the classes."""

import glob
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from fsspec.core import url_to_fs

from vitaclip.data.labels import LabelReader
from vitaclip.data.lists.class_names import CLASSES_REMEDY, choose_classes
from vitaclip.data.lists.list_file import read_list
from vitaclip.data.lists.video_list import VideoList, VideoSample, is_video_name
from vitaclip.data.reading.container import VIDEO_SUFFIXES, VideoError
from vitaclip.data.reading.frame_folder import is_frame_folder
from vitaclip.data.reading.member import ShardError, VideoPath, is_local, with_retries
from vitaclip.data.reading.tar import ShardContent, read_shard, to_video_path
from vitaclip.names import ClassIndex, check_class_names, in_words, quoted
from vitaclip.strings import did_you_mean

_TAR_NAME = re.compile(r"\.(?:tar(?:\.\w+)?|tgz|tbz2|txz)$", re.IGNORECASE)
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_WILDCARD = re.compile(r"[*?\[]")
_AT_A_TIME = 16  # tar files whose headers are read at a time; most of it is waiting


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
        source: a list file, a folder of class folders, or what `find_shards` takes.
        setting: what the user calls it, for messages, such as `data.train`.
        root: folder that paths of a list are relative to; empty: the list's own.
        classes: as `choose_classes` takes it; empty: `class_names`, or else the names of the folders.
        class_names: class names already known.
        keep_absent: see `VideoList.checked`; for evaluations whose `on_error` is "skip".
        may_be_numbers: without class names, take the labels of a list or of tar files as numbers.

    Raises:
        ValueError: if there is nothing there, if a list comes without class names, or for any bad line.

    >>> read_videos("videos", "data.train").class_names
    ('red heart moving left', 'red heart moving right')
    """
    if not source:
        raise ValueError(f"{setting} is not set; give a list file or a folder with one folder per class")
    if classes:
        class_names = choose_classes(classes)
    in_tar_files = names_shards(source)
    if not in_tar_files and Path(source).is_dir():
        return read_folder(source, class_names, keep_absent=keep_absent)
    if class_names is None and not may_be_numbers:
        what = "tar files need" if in_tar_files else "a list needs"
        raise ValueError(f"{setting} = {source}: {what} class names; {CLASSES_REMEDY}")
    if in_tar_files:
        return read_shards(source, class_names)
    return read_list(source, root or None, class_names, keep_absent=keep_absent)


def read_folder(root: str | Path, class_names: Sequence[str] | None = None, *, keep_absent: bool = False) -> VideoList:
    """Read and check a folder that holds one folder of videos for each class.

    A class is named like its folder, with blanks for underscores. Classes are numbered in the order of the sorted
    folder names, or in that of `class_names`, which may name more classes than there are folders, and spell them
    otherwise (see `ClassIndex`). Files without a video's ending and hidden ones are passed over.

    Raises:
        ValueError: no such folder, no class folder, one without videos, an empty (0 bytes) file, a folder
            that `class_names` does not name, or two folders of one class.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; give the folder that holds the class folders")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise ValueError(f"{root}: holds no class folders; make one for each class, named after it")
    found = [in_words(folder.name) for folder in folders]
    names = check_class_names(found if class_names is None else class_names, str(root))
    index = ClassIndex(names)
    problems: list[str] = []
    samples: list[VideoSample] = []
    folder_of: dict[int, Path] = {}
    for folder, name in zip(folders, found, strict=True):
        label = index.find(folder.name)
        videos = sorted(path for path in folder.iterdir() if is_video_name(path) or is_frame_folder(path))
        if label is None:
            hint = did_you_mean(name, names)
            problems.append(f"{folder}: no class is called {quoted(name)}{hint}; rename or remove the folder")
        elif folder_of.setdefault(label, folder) != folder:
            problems.append(f"{folder}: is class {names[label]!r} like {folder_of[label]}; move the videos into one")
        elif not videos:
            problems.append(f"{folder}: holds no video; add some or remove the folder")
        else:
            samples += [VideoSample(path, (label,), str(path)) for path in videos]
    return VideoList(tuple(samples), names, problems=tuple(problems)).checked(f"{root}", keep_absent=keep_absent)


def names_shards(source: str) -> bool:
    """Whether a source of videos is tar files: by its ending, a protocol in front, or a folder with tar files and no
    folders in it (beside class folders, a tar file is what they were unpacked from)."""
    if _TAR_NAME.search(source) or "://" in source:
        return True
    folder = Path(source)
    return folder.is_dir() and any(folder.glob("*.tar")) and not any(path.is_dir() for path in folder.iterdir())


def read_shards(source: str, class_names: Sequence[str] | None = None, *, check: bool = True) -> VideoList:
    """Read the videos of tar files: headers and labels, nothing else.

    Args:
        source: as `find_shards` takes it.
        class_names: see `read_list`.
        check: see `read_list`.

    Raises:
        ValueError: as `find_shards`; or, for all videos at once: a tar file that is not there, compressed or cut
            short, a video without label, an unknown class.
    """
    names = () if class_names is None else check_class_names(class_names, "class_names")
    labels = LabelReader(names)
    samples: list[VideoSample] = []
    problems: list[str] = []
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        for content in threads.map(_content_or_problem, find_shards(source)):
            problems += content.problems
            for found in content.samples:
                try:
                    samples.append(VideoSample(found.video, labels.read(found.label), str(found.video)))
                except ValueError as error:
                    problems.append(f"{found.video}: {error}")
    videos = VideoList(tuple(samples), names, labels.note, tuple(problems))
    return videos.checked(source) if check else videos


def _content_or_problem(address: str) -> ShardContent:
    try:
        return read_shard(address)
    except ValueError as error:
        return ShardContent(problems=[str(error)])


def find_shards(source: str) -> list[str]:
    """Paths or addresses of tar files: one, a range `train-{000..009}.tar`, a pattern `*.tar`, or a folder of them.

    Raises:
        ValueError: nothing there, a range that runs backwards, or a storage that cannot be asked.
    """
    try:
        found = [shard for address in expand_ranges(source) for shard in with_retries(partial(_look, address))]
    except ShardError as error:
        raise ValueError(f"{source}: {error}") from error
    if not found:
        raise ValueError(f"{source}: no tar file is there; check the path")
    return found


def expand_ranges(address: str) -> list[str]:
    """The addresses of a range of numbers in braces, or of several, the last running fastest.

    >>> expand_ranges("train-{08..10}.tar")
    ['train-08.tar', 'train-09.tar', 'train-10.tar']
    """
    match = _RANGE.search(address)
    if match is None:
        return [address]
    first, last = match.groups()
    if int(first) > int(last):
        raise ValueError(f"{address}: the range {match[0]} runs backwards; write the smaller number first")
    width = max(len(first), len(last)) if "0" in (first[0], last[0]) else 0
    before, after = address[: match.start()], expand_ranges(address[match.end() :])
    return [f"{before}{number:0{width}}{rest}" for number in range(int(first), int(last) + 1) for rest in after]


def _look(address: str) -> list[str]:
    """The tar files that an address without ranges means, sorted; one that names no pattern is taken at its word."""
    if is_local(address):
        pattern = str(Path(address) / "*.tar") if Path(address).is_dir() else address
        # Path.glob would want the place where the pattern begins.
        return sorted(glob.glob(pattern)) if _WILDCARD.search(pattern) else [pattern]  # noqa: PTH207
    system, path = url_to_fs(address)
    if not _WILDCARD.search(path):
        if _TAR_NAME.search(path) or not system.isdir(path):
            return [address]
        path = f"{path.rstrip('/')}/*.tar"
    return sorted(str(system.unstrip_protocol(found)) for found in system.glob(path))


def find_videos(paths: Sequence[str | Path]) -> list[VideoPath]:
    """Video files as given, and all those with a video's ending anywhere below given folders, sorted. A folder without
    any whose own content is numbered pictures is itself one video.

    Raises:
        ValueError: if a folder holds no video, or for a whole tar file. A missing file or member is named when opened,
            like other bad ones.
    """
    found: list[VideoPath] = []
    for given in paths:
        try:
            path = to_video_path(given)
        except VideoError:
            path = Path(given)
        if isinstance(path, Path) and path.is_dir():
            inside = sorted(file for file in path.rglob("*") if is_video_name(file))
            if not inside and is_frame_folder(path):
                inside = [path]
            if not inside:
                raise ValueError(f"{path}: no video in this folder (endings: {', '.join(sorted(VIDEO_SUFFIXES))})")
            found += inside
        elif isinstance(path, Path) and path.suffix == ".tar":
            raise ValueError(f"{path}: is a tar file; name its videos, such as {path}::KEY.mp4, or unpack it")
        else:
            found.append(path)
    return found
