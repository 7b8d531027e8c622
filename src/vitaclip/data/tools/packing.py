"""Videos packed into tar files in webdataset's layout: `key.mp4` and, behind it, `key.cls` with the class number."""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from vitaclip.data.labels import format_labels
from vitaclip.data.lists.video_list import VideoList, VideoSample, raise_problems
from vitaclip.data.reading.container import VIDEO_SUFFIXES
from vitaclip.data.reading.given import GivenVideo
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


class Packing:
    """A plan which videos go to which of the tar files `shard-000000.tar`, ... of a folder."""

    def __init__(self, videos: VideoList, target: str | Path, config: ShardConfig) -> None:
        """Raises:
        ValueError: folders of pictures or files without a video's ending among the videos, or a folder with tar files
            of other videos or settings, or with something else altogether.
        """
        self.target, self._videos = Path(target), videos
        raise_problems([problem for each in videos.samples if (problem := _problem(each))], "cannot be packed")
        facts = [(each.path.parts[-1], _size(each.path), format_labels(each.labels)) for each in videos.samples]
        digest = hashlib.sha256(json.dumps([facts, videos.class_names]).encode()).hexdigest()[:8]
        made_with = {**asdict(config), "videos": f"{len(facts)} (list {digest})"}
        self._settings = json.dumps(made_with) + "\n"
        check_made_with(self.target / SETTINGS_FILE, self._settings)
        shards, room = list[list[int]](), 0
        for number in np.random.default_rng(config.seed).permutation(len(facts)).tolist():
            size = sum(map(_member_bytes, _headers(number, videos.samples[number], facts[number][1])))
            if size > room:
                shards.append([])
                room = int(config.max_gib * 2**30) - _END_BYTES
            shards[-1].append(number)
            room -= size
        self.shards = {self.target / f"shard-{place:06d}.tar": numbers for place, numbers in enumerate(shards)}
        """The videos of each tar file, by their numbers in the list."""
        self.waiting = [file for file in self.shards if not file.exists()]
        """Tar files that are not there yet."""

    def run(self) -> Generator[Path, None, None]:
        """Write the tar files that are not there, each of which appears complete or not at all; yields it then.

        Raises:
            OSError: a video that cannot be read, or a full disk.
        """
        write_text(self.target / SETTINGS_FILE, self._settings)
        remove_leftovers(self.target)
        if self._videos.class_names:
            write_text(self.target / CLASSES_FILE, "".join(f"{name}\n" for name in self._videos.class_names))
        for file in self.waiting:
            _write(file, ((number, self._videos.samples[number]) for number in self.shards[file]))
            yield file


def _write(file: Path, samples: Iterable[tuple[int, VideoSample]]) -> None:
    with atomic_write(file) as temporary, tarfile.open(temporary, "w") as tar:
        for number, sample in samples:
            with sample.path.open("rb") as video:
                video_header, label_header = _headers(number, sample, video.seek(0, io.SEEK_END))
                video.seek(0)
                tar.addfile(video_header, video)
            tar.addfile(label_header, io.BytesIO(format_labels(sample.labels).encode()))


def _headers(number: int, sample: VideoSample, size: int) -> tuple[tarfile.TarInfo, tarfile.TarInfo]:
    """Of the video and of its label: nothing but name and size, so that the same videos give the same bytes.

    The name before the dot is different for all videos, and tells which it is.
    """
    name = PurePosixPath(sample.path.parts[-1])
    key = f"{number:08d}_{re.sub(r'[./]', '_', name.stem)}"
    video, label = tarfile.TarInfo(f"{key}{name.suffix.lower()}"), tarfile.TarInfo(f"{key}.cls")
    video.size, label.size = size, len(format_labels(sample.labels))
    return video, label


def _problem(sample: VideoSample) -> str:
    if isinstance(sample.path, Path) and sample.path.is_dir():
        return f"{sample.source}: {sample.path} is a folder of pictures; make it a video file, or remove the line"
    if isinstance(sample.path, GivenVideo):
        return f"{sample.source}: {sample.path} is an address; fetch the file, or remove the line"
    if PurePosixPath(sample.path.parts[-1]).suffix.lower() not in VIDEO_SUFFIXES:
        return f"{sample.source}: {sample.path} has no video's ending, by which it would be known; rename it"
    return ""


def _size(path: VideoPath) -> int:
    assert not isinstance(path, GivenVideo)
    return path.size if isinstance(path, ShardMember) else path.stat().st_size


def _member_bytes(header: tarfile.TarInfo) -> int:
    """Bytes that a member takes in a tar file, its header included."""
    return len(header.tobuf()) + -(-header.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
