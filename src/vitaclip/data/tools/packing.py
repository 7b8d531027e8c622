"""Videos packed into tar files in webdataset's layout: `key.mp4` and, behind it, `key.cls` with the class number."""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from vitaclip.data.labels import format_labels
from vitaclip.data.lists.video_list import VideoList, VideoSample, raise_problems
from vitaclip.data.reading.container import VIDEO_SUFFIXES
from vitaclip.data.reading.member import ShardMember, VideoPath
from vitaclip.files import atomic_write, check_made_with, remove_leftovers, write_text
from vitaclip.settings import Config, NonNegativeInt, PositiveFloat


@dataclass(frozen=True, kw_only=True)
class ShardConfig(Config):
    """How videos are packed into tar files."""

    max_gib: PositiveFloat = 1.0
    """Size of a tar file, at most, in GiB (2**30 bytes); a video that is larger has one to itself."""
    seed: NonNegativeInt = 0
    """Decides the order of the videos, which is random: readers that go through a tar file from its start to its end
    then meet all classes."""


SETTINGS_FILE = "shards.json"
CLASSES_FILE = "classes.txt"
_END_BYTES = 2 * tarfile.BLOCKSIZE + tarfile.RECORDSIZE  # its marks, and what rounds it up


@dataclass(frozen=True)
class Shard:
    """A tar file to be written."""

    file: Path
    rows: tuple[tuple[int, VideoSample], ...]
    """Number in the list, and the video."""


@dataclass(frozen=True)
class Packing:
    """What is to be done."""

    shards: tuple[Shard, ...]
    """Tar files that are not there yet."""
    finished: int
    """Tar files that are."""
    settings: str
    """What they depend on, as a line of JSON."""
    class_names: tuple[str, ...] | None


def plan_packing(videos: VideoList, target: str | Path, config: ShardConfig) -> Packing:
    """Divides videos among tar files `shard-000000.tar`, ..., and sees which of them are there.

    Raises:
        ValueError: folders of pictures or files without a video's ending among the videos, or a folder with tar files
            of other videos or settings, or with something else altogether.
    """
    target = Path(target)
    raise_problems([problem for row in videos.samples if (problem := _problem(row))], "cannot be packed")
    settings = json.dumps({**asdict(config), "videos": f"{len(videos.samples)} (list {_digest(videos)})"}) + "\n"
    check_made_with(target / SETTINGS_FILE, settings)
    order = np.random.default_rng(config.seed).permutation(len(videos.samples)).tolist()
    groups: list[list[tuple[int, VideoSample]]] = []
    room = 0
    for number in order:
        row = videos.samples[number]
        size = sum(map(_member_bytes, _headers(number, row, _size(row.path))))
        if size > room:
            groups.append([])
            room = int(config.max_gib * 2**30) - _END_BYTES
        groups[-1].append((number, row))
        room -= size
    shards = [Shard(target / f"shard-{place:06d}.tar", tuple(group)) for place, group in enumerate(groups)]
    waiting = tuple(shard for shard in shards if not shard.file.exists())
    return Packing(waiting, len(shards) - len(waiting), settings, videos.class_names)


def pack(packing: Packing, target: str | Path) -> Generator[Shard, None, None]:
    """Writes the tar files of a plan, each of which appears complete or not at all; yields it when it is there.

    Raises:
        OSError: a video that cannot be read, or a full disk.
    """
    target = Path(target)
    write_text(target / SETTINGS_FILE, packing.settings)
    remove_leftovers(target)
    if packing.class_names:
        write_text(target / CLASSES_FILE, "".join(f"{name}\n" for name in packing.class_names))
    for shard in packing.shards:
        _write(shard)
        yield shard


def _write(shard: Shard) -> None:
    with atomic_write(shard.file) as temporary, tarfile.open(temporary, "w") as tar:
        for number, row in shard.rows:
            with row.path.open("rb") as video:
                video_header, label_header = _headers(number, row, video.seek(0, io.SEEK_END))
                video.seek(0)
                tar.addfile(video_header, video)
            tar.addfile(label_header, io.BytesIO(format_labels(row.labels).encode()))


def _headers(number: int, row: VideoSample, size: int) -> tuple[tarfile.TarInfo, tarfile.TarInfo]:
    """Of the video and of its label: nothing but name and size, so that the same videos give the same bytes."""
    key = _key(number, row.path)
    video, label = tarfile.TarInfo(f"{key}{_suffix(row.path)}"), tarfile.TarInfo(f"{key}.cls")
    video.size, label.size = size, len(format_labels(row.labels))
    return video, label


def _key(number: int, path: VideoPath) -> str:
    """Different for all videos, and tells which it is; a dot would end it."""
    return f"{number:08d}_{re.sub(r'[./]', '_', PurePosixPath(path.parts[-1]).stem)}"


def _suffix(path: VideoPath) -> str:
    return PurePosixPath(path.parts[-1]).suffix.lower()


def _problem(row: VideoSample) -> str:
    if isinstance(row.path, Path) and row.path.is_dir():
        return f"{row.source}: {row.path} is a folder of pictures; make it a video file, or remove the line"
    if _suffix(row.path) not in VIDEO_SUFFIXES:
        return f"{row.source}: {row.path} has no video's ending, by which it would be known; rename it"
    return ""


def _size(path: VideoPath) -> int:
    return path.size if isinstance(path, ShardMember) else path.stat().st_size


def _member_bytes(header: tarfile.TarInfo) -> int:
    """Bytes that a member takes in a tar file, its header included."""
    return len(header.tobuf()) + -(-header.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _digest(videos: VideoList) -> str:
    """Names, sizes and labels, in order, and the class names."""
    facts: Sequence[object] = [
        [(row.path.parts[-1], _size(row.path), format_labels(row.labels)) for row in videos.samples]
    ]
    return hashlib.sha256(json.dumps([*facts, videos.class_names]).encode()).hexdigest()[:8]
