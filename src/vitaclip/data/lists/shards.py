"""Which tar files an address means, and the videos in them."""

import glob
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from fsspec.core import url_to_fs

from vitaclip.data.labels import LabelReader
from vitaclip.data.lists.video_list import VideoList, VideoSample
from vitaclip.data.reading.member import ShardError, is_local, with_retries
from vitaclip.data.reading.tar import ShardContent, read_shard
from vitaclip.names import check_class_names

_TAR_NAME = re.compile(r"\.(?:tar(?:\.\w+)?|tgz|tbz2|txz)$", re.IGNORECASE)
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_WILDCARD = re.compile(r"[*?\[]")
_AT_A_TIME = 16  # tar files whose headers are read at a time; most of it is waiting


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
        class_names: names in the order of the classes; also sets the range that labels must lie in.
        check: raise for all that is wrong. If not, the list tells its problems.

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
