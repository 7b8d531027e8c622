"""What a tar file holds, read from its headers: videos, where each begins, and what is said of their labels.

The layout is webdataset's: `key.mp4` beside `key.cls`, `key.json` or `key.txt`. A key is the name up to the first dot
behind the last slash.
"""

import functools
import os
import re
import tarfile
from collections import defaultdict
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO

from fsspec.core import url_to_fs

from vitaclip.data.labels import LABEL_COLUMNS, first_value, label_text, parse_json
from vitaclip.data.reading.container import VIDEO_SUFFIXES, VideoError
from vitaclip.data.reading.given import GivenVideo, RemoteVideo, is_address
from vitaclip.data.reading.member import BETWEEN, ShardError, ShardMember, VideoPath, is_local, with_retries
from vitaclip.names import quoted
from vitaclip.strings import one_line

_KEY_AND_ENDING = re.compile(r"(?P<key>(?:.*/)?[^/.]+)\.(?P<ending>[^/]+)")
_TAR_AND_MEMBER = re.compile(rf"(?P<shard>.+?\.tar){BETWEEN}(?P<member>.+)", re.IGNORECASE)
_LABEL_ENDINGS = ("cls", "json", "txt")  # the first that says a label counts
_MOST_LABEL_BYTES = 1 << 16
_MOST_HEADER_BYTES = 1 << 15  # of long names and PAX headers, which tarfile takes into memory whole
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, *tarfile.GNU_TYPES)
_BLOCK_BYTES = tarfile.BLOCKSIZE
_READ_AHEAD_BYTES = 1 << 16  # a header, the small members after it, and mostly the next header
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}


ShardContent = tuple[dict[ShardMember, str], list[str]]
"""The videos of a tar file, in its order, with class number or name as it is written; and what is wrong with the
others, or with the whole file, a line each."""


class _Header(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        """Refuses a header larger than any writer of tar files makes, before tarfile takes it into memory."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in _EXTENDED and header.type != tarfile.GNUTYPE_SPARSE and header.size > _MOST_HEADER_BYTES:
            raise ShardError(f"has a header of {header.size} bytes: pack it anew")
        return header


def read_shard(address: str) -> ShardContent:
    """Reads the headers of a tar file, by its path or address, and the labels in it."""
    try:
        return with_retries(lambda: _read(address))
    except ShardError as error:
        return {}, [f"{address}: {error}"]


def to_video_path(path: str | VideoPath, root: Path | None = None) -> VideoPath:
    """The video that a text names: `shard.tar::member` is a video in a tar file unless a file of that name exists;
    `https://...` is fetched when it is opened; every other text is a path. Paths are relative to `root`.

    The headers of a tar file are read once in the life of the process.

    Raises:
        VideoError: the tar file cannot be read, or does not hold the member.
    """
    if isinstance(path, ShardMember | GivenVideo):
        return path
    plain = (root or Path()) / path
    inside = _TAR_AND_MEMBER.fullmatch(str(path))
    if inside is None and is_address(str(path)):
        return RemoteVideo(str(path))
    if inside is None or os.path.exists(plain):  # noqa: PTH110 - pathlib's raises for names that are too long
        return plain
    shard = str((root or Path()) / inside["shard"]) if is_local(inside["shard"]) else inside["shard"]
    members, problem = _members(shard)
    if inside["member"] not in members:
        what = f"{path} is not there: the tar file holds no such video, or none with a label"
        raise VideoError(what if members else problem)
    return members[inside["member"]]


@functools.cache
def _members(address: str) -> tuple[dict[str, ShardMember], str]:
    """Videos by name, and the first thing that is wrong."""
    labels, problems = read_shard(address)
    return {video.name: video for video in labels}, next(iter(problems), "")


def _read(address: str) -> ShardContent:
    system, path = url_to_fs(address)
    version = f"{system.info(path)['size']} {system.ukey(path)}"
    with closing(system.open(path, "rb", block_size=_READ_AHEAD_BYTES)) as file:
        return _read_headers(file, address, version)


def _read_headers(file: IO[bytes], address: str, version: str) -> ShardContent:
    start = file.read(_BLOCK_BYTES)
    for mark, name in _COMPRESSED.items():
        if start.startswith(mark):
            raise ShardError(f"is compressed ({name}), so no part of it can be read by itself: unpack it to a .tar")
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as tar:
            content = _sort(tar, address, version)
            end = tar.offset
    except tarfile.TarError as error:
        raise ShardError(f"is no tar file, or cut short ({error}): copy it again") from error
    # tarfile takes whatever is no header for the end; the true one is a block of zeros.
    file.seek(end)
    if file.read(_BLOCK_BYTES) != bytes(_BLOCK_BYTES):
        raise ShardError(f"is cut short or damaged at byte {end}: copy it again")
    return content


def _sort(tar: tarfile.TarFile, address: str, version: str) -> ShardContent:
    """Videos and labels by their keys."""
    videos: dict[str, list[ShardMember]] = defaultdict(list)
    labels: dict[str, dict[str, bytes]] = defaultdict(dict)
    others: dict[str, list[str]] = defaultdict(list)
    for entry in tar:
        match = _KEY_AND_ENDING.fullmatch(entry.name)
        if match is None or not entry.isreg() or entry.issparse():
            continue
        key, ending = match["key"], match["ending"].lower()
        if PurePosixPath(f"video.{ending}").suffix in VIDEO_SUFFIXES:
            videos[key].append(ShardMember(address, entry.name, entry.offset_data, entry.size, version))
            continue
        others[key].append(entry.name)
        if ending in _LABEL_ENDINGS and (member := tar.extractfile(entry)) is not None:
            labels[key][ending] = member.read(_MOST_LABEL_BYTES + 1)
    found, problems = dict[ShardMember, str](), list[str]()
    for key, (video, *more) in videos.items():
        try:
            found[video] = _label(key, labels[key], more, others[key])
        except ValueError as error:
            problems.append(f"{video}: {error}")
    if not videos:
        problems.append(f"{address}: holds no video; its members are to be named key.mp4, key.cls")
    return found, problems


def _label(key: str, texts: dict[str, bytes], other_videos: list[ShardMember], others: list[str]) -> str:
    """What the members of a key say of its class.

    Raises:
        ValueError: nothing, nothing that can be read, or there are several videos.
    """
    if other_videos:
        raise ValueError(f"the key has another video, {other_videos[0].name}; give each a key of its own")
    for ending in (each for each in _LABEL_ENDINGS if each in texts):
        try:
            label = _label_of(texts[ending], ending == "json")
        except ValueError as error:
            raise ValueError(f"its {ending} {one_line(error)}; write it anew") from error
        if label:
            return label
    beside = f"beside it {', '.join(others[:3])}" if others else "nothing beside it"
    raise ValueError(
        f"no label; its key, up to the first dot, is {quoted(key)}, and {beside}: put {key}.cls with the class number"
        " there, or .txt or .json with number or name"
    )


def _label_of(content: bytes, is_json: bool) -> str:
    """The label in a text; in JSON, itself a label or an object with one of LABEL_COLUMNS. Empty without."""
    if len(content) > _MOST_LABEL_BYTES:
        raise ValueError(f"has more than {_MOST_LABEL_BYTES} bytes, which is no label")
    text = content.decode("utf-8-sig").strip()
    if not is_json:
        return text
    entry = parse_json(text)
    label = first_value(entry, LABEL_COLUMNS) if isinstance(entry, dict) else entry
    return "" if label is None else label_text(label)
