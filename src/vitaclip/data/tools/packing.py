"""Videos packed into tar files in webdataset's layout: `key.mp4` and, behind it, `key.cls` with the class number."""

import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from vitaclip.data.labels import format_labels
from vitaclip.data.lists.video_list import VideoList, VideoSample, raise_problems
from vitaclip.data.reading.container import VIDEO_SUFFIXES
from vitaclip.data.reading.given import GivenVideo
from vitaclip.data.reading.member import ShardMember, VideoPath
from vitaclip.files import atomic_write, write_text
from vitaclip.settings import Config, NonNegativeInt, PositiveFloat


@dataclass(frozen=True, kw_only=True)
class ShardConfig(Config):
    """How videos are packed into tar files."""

    max_gib: PositiveFloat = 1.0
    """Size of a tar file, at most, in GiB (2**30 bytes); a video that is larger has one to itself."""
    seed: NonNegativeInt = 0
    """Decides the order of the videos, which is random: readers that go through a tar file from its start to its end
    then meet all classes."""


CLASSES_FILE = "classes.txt"
_HEADER_BYTES = 5 * 1024  # headers of a video and its label, and what rounds both up
_END_BYTES = 2 * tarfile.BLOCKSIZE + tarfile.RECORDSIZE  # its marks, and what rounds it up


def pack_videos(videos: VideoList, target: str | Path, config: ShardConfig) -> Iterator[Path]:
    """Write `shard-000000.tar`, ... and `classes.txt` into a new folder; yields each tar file once it is whole.

    Raises:
        ValueError: the folder is not empty, or there are folders of pictures or files without a video's ending.
        OSError: a video that cannot be read, or a full disk.
    """
    target = Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target}: exists already; remove it or name another --out")
    raise_problems([problem for each in videos.samples if (problem := _problem(each))], "cannot be packed")
    if videos.class_names:
        write_text(target / CLASSES_FILE, "".join(f"{name}\n" for name in videos.class_names))
    for place, numbers in enumerate(_plan(videos.samples, config)):
        file = target / f"shard-{place:06d}.tar"
        with atomic_write(file) as temporary, tarfile.open(temporary, "w") as tar:
            for number in numbers:
                _add(tar, number, videos.samples[number])
        yield file


def _plan(samples: Sequence[VideoSample], config: ShardConfig) -> list[list[int]]:
    """The numbers of the videos in each tar file."""
    shards, room = list[list[int]](), 0
    for number in np.random.default_rng(config.seed).permutation(len(samples)).tolist():
        size = _size(samples[number].path) + _HEADER_BYTES
        if size > room:
            shards.append([])
            room = int(config.max_gib * 2**30) - _END_BYTES
        shards[-1].append(number)
        room -= size
    return shards


def _add(tar: tarfile.TarFile, number: int, sample: VideoSample) -> None:
    """Add a video and its label, headers with nothing but name and size: the same videos give the same bytes."""
    name, label = PurePosixPath(sample.path.parts[-1]), format_labels(sample.labels).encode()
    key = f"{number:08d}_{re.sub(r'[./]', '_', name.stem)}"
    header = tarfile.TarInfo(f"{key}{name.suffix.lower()}")
    with sample.path.open("rb") as video:
        header.size = video.seek(0, io.SEEK_END)
        video.seek(0)
        tar.addfile(header, video)
    header = tarfile.TarInfo(f"{key}.cls")
    header.size = len(label)
    tar.addfile(header, io.BytesIO(label))


def _problem(sample: VideoSample) -> str:
    if isinstance(sample.path, GivenVideo):
        return f"{sample.source}: {sample.path} is no file of this machine; download it, or remove the line"
    if PurePosixPath(sample.path.parts[-1]).suffix.lower() in VIDEO_SUFFIXES:
        return ""
    return f"{sample.source}: {sample.path} has no video's ending, by which it would be known; rename or remove it"


def _size(path: VideoPath) -> int:
    assert not isinstance(path, GivenVideo)
    return path.size if isinstance(path, ShardMember) else path.stat().st_size
