"""What a tar file holds, read from its headers: videos, where each begins, and what is said of their labels.

The layout is webdataset's: `key.mp4` beside `key.cls`, `key.json` or `key.txt`. A key is the name up to the first dot
behind the last slash.
"""

import functools
import os
import re
import tarfile
from collections import defaultdict
from pathlib import Path, PurePosixPath

from vitaclip.data.labels import LABEL_COLUMNS, first_value, label_text, parse_json
from vitaclip.data.reading.container import VIDEO_SUFFIXES, VideoError
from vitaclip.data.reading.path import GivenVideo, RemoteVideo, ShardMember, VideoPath, is_address
from vitaclip.names import quoted
from vitaclip.strings import one_line

_KEY_AND_ENDING = re.compile(r"(?P<key>(?:.*/)?[^/.]+)\.(?P<ending>[^/]+)")
_TAR_AND_MEMBER = re.compile(r"(?P<shard>.+?\.tar)::(?P<member>.+)", re.IGNORECASE)
_LABEL_ENDINGS = ("cls", "json", "txt")  # the first that says a label counts
_MOST_LABEL_BYTES = 1 << 16
_MOST_HEADER_BYTES = 1 << 15  # of long names and PAX headers, which tarfile takes into memory whole
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, *tarfile.GNU_TYPES)

ShardContent = tuple[dict[ShardMember, str], list[str]]
"""The videos of a tar file, in its order, with class number or name as it is written; and what is wrong with the
others, or with the whole file, a line each."""


class _Header(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        """Refuses a header larger than any writer of tar files makes, before tarfile takes it into memory."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in _EXTENDED and header.type != tarfile.GNUTYPE_SPARSE and header.size > _MOST_HEADER_BYTES:
            raise tarfile.TarError(f"a header of {header.size} bytes")
        return header


def read_shard(path: str) -> ShardContent:
    """Reads the headers of a tar file and the labels in it."""
    try:
        with Path(path).open("rb") as file, tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as tar:
            content = _sort(tar, path)
            # tarfile takes whatever is no header for the end; the true one is a block of zeros.
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE):
                return content
            return {}, [f"{path}: is cut short or damaged at byte {tar.offset}: copy it again"]
    except OSError as error:
        return {}, [f"{path}: cannot be read ({error.strerror}): check the path"]
    except tarfile.TarError as error:
        what = f"is compressed, damaged, cut short or no tar file ({one_line(error)})"
        return {}, [f"{path}: {what}: unpack a .tar.gz to a .tar, else copy it again"]


def to_video_path(path: str | VideoPath, root: Path | None = None) -> VideoPath:
    """The video that a text names: `shard.tar::member` is a video in a tar file unless a file of that name exists;
    `https://...` is fetched when it is opened; every other text is a path. Paths are relative to `root`.

    The headers of a tar file are read once in the life of the process.

    Raises:
        VideoError: the tar file cannot be read, or does not hold the member.
    """
    if isinstance(path, ShardMember | GivenVideo):
        return path
    if is_address(str(path)):
        return RemoteVideo(str(path))
    plain, inside = (root or Path()) / path, _TAR_AND_MEMBER.fullmatch(str(path))
    if inside is None or os.path.exists(plain):  # noqa: PTH110 - pathlib's raises for names that are too long
        return plain
    members, problem = _members(str((root or Path()) / inside["shard"]))
    if inside["member"] not in members:
        what = f"{path} is not there: the tar file holds no such video, or none with a label"
        raise VideoError(what if members else problem)
    return members[inside["member"]]


@functools.cache
def _members(path: str) -> tuple[dict[str, ShardMember], str]:
    """Videos by name, and the first thing that is wrong."""
    labels, problems = read_shard(path)
    return {video.name: video for video in labels}, next(iter(problems), "")


def _sort(tar: tarfile.TarFile, path: str) -> ShardContent:
    """Videos and labels by their keys."""
    videos, labels = defaultdict[str, list[ShardMember]](list), defaultdict[str, dict[str, bytes]](dict)
    for entry in tar:
        match = _KEY_AND_ENDING.fullmatch(entry.name)
        if match is None or not entry.isreg() or entry.issparse():
            continue
        key, ending = match["key"], match["ending"].lower()
        if PurePosixPath(f"video.{ending}").suffix in VIDEO_SUFFIXES:
            videos[key].append(ShardMember(path, entry.name, entry.offset_data, entry.size))
        elif ending in _LABEL_ENDINGS and (member := tar.extractfile(entry)) is not None:
            labels[key][ending] = member.read(_MOST_LABEL_BYTES)
    found, problems = dict[ShardMember, str](), list[str]()
    for key, (video, *more) in videos.items():
        try:
            if more:
                raise ValueError(f"the key has another video, {more[0].name}; give each a key of its own")
            found[video] = _label(key, labels[key])
        except ValueError as error:
            problems.append(f"{video}: {error}")
    if not videos:
        problems.append(f"{path}: holds no video; its members are to be named key.mp4, key.cls")
    return found, problems


def _label(key: str, texts: dict[str, bytes]) -> str:
    """What the members of a key say of its class: a text, or in JSON a label or an object with one of LABEL_COLUMNS.

    Raises:
        ValueError: nothing, or nothing that can be read.
    """
    for ending in (each for each in _LABEL_ENDINGS if each in texts):
        try:
            text = texts[ending].decode("utf-8-sig").strip()
            entry = parse_json(text) if ending == "json" else text
            label = first_value(entry, LABEL_COLUMNS) if isinstance(entry, dict) else entry
            if label not in (None, ""):
                return label_text(label)
        except ValueError as error:
            raise ValueError(f"its {ending} {one_line(error)}; write it anew") from error
    what = f"no label; its key, up to the first dot, is {quoted(key)}"
    raise ValueError(f"{what}: put {key}.cls with the class number beside it, or .txt or .json with number or name")
