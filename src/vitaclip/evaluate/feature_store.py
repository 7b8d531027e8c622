"""Features of video files kept in a folder, so that a video is embedded once for all runs of a frozen image tower.

A folder for each way of making features, called by a digest of all that decides their numbers (`about.json` tells
them), holds files of some hundred videos each. Any number of processes may share it: files appear whole, by a rename,
and are never changed. What a video had before it changed (size or time of modification) stays, and is not found.

Axes: n videos, V views of a video, D embedding.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from vitaclip.data import ShardMember, VideoPath
from vitaclip.files import write_json, write_safetensors
from vitaclip.untrusted import reading

ABOUT_FILE = "about.json"

FileState = tuple[str | int, ...]
"""A file as it is now: its absolute path, bytes, and time of modification in ns; the path alone if it is not there.
Of a video in a tar file: where it is, and the version of the tar file."""
Entry = Tensor | str
"""What is known of a file: its features (V, D); or why it could not be read."""


def state_of(path: VideoPath) -> FileState:
    """The state of a video file, or of a folder of pictures: then their bytes together, and the newest time."""
    if isinstance(path, ShardMember):
        return str(path.absolute()), path.offset, path.size, path.version
    try:
        files = [path, *(Path(entry) for entry in os.scandir(path))] if path.is_dir() else [path]
        facts = [file.stat() for file in files]
    except OSError:
        return (str(path.absolute()),)
    return str(path.absolute()), sum(fact.st_size for fact in facts), max(fact.st_mtime_ns for fact in facts)


class FeatureStore:
    """The features that were made in one way."""

    def __init__(self, folder: str | Path, about: Mapping[str, Any]) -> None:
        """Args:
            folder: of all ways.
            about: all that decides the numbers beside the files, ready for JSON.

        Raises:
            ValueError: the folder cannot be made.
        """
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = Path(folder) / digest
        try:
            if not (self.folder / ABOUT_FILE).exists():
                write_json(self.folder / ABOUT_FILE, about)
        except OSError as error:
            raise ValueError(
                f"feature_cache = {folder}: {error.strerror}; name a folder that can be written"
            ) from error

    def read(self, wanted: AbstractSet[FileState], shape: tuple[int, ...] | None = None) -> dict[FileState, Entry]:
        """What is known of the files as they are now.

        A file of the store that is damaged, or whose features are not of `shape` (V, ...), counts as missing: others
        may write to the folder, so that it may hold anything.
        """
        known: dict[FileState, Entry] = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            try:
                with reading(file):
                    known |= _read(file, wanted, shape)
            except (OSError, ValueError):
                continue
        return known

    def write(self, entries: Mapping[FileState, Entry]) -> None:
        """Keep what is known of some files, in one file of the store.

        Raises:
            OSError: if it cannot be written, as on a full disk.
        """
        whole = {state: entry for state, entry in entries.items() if isinstance(entry, Tensor)}
        broken = [[*state, entry] for state, entry in entries.items() if isinstance(entry, str)]
        features = torch.stack(list(whole.values())) if whole else torch.empty(0)
        metadata = {"videos": json.dumps(list(whole)), "broken": json.dumps(broken)}
        name = hashlib.sha256(json.dumps(list(entries)).encode()).hexdigest()[:32]
        write_safetensors(self.folder / f"{name}.safetensors", {"features": features}, metadata)


def _read(file: Path, wanted: AbstractSet[FileState], shape: tuple[int, ...] | None) -> dict[FileState, Entry]:
    """Those entries of a file of the store that are wanted."""
    if not file.is_file():  # a pipe would be waited for
        raise ValueError("is no regular file")
    with safe_open(file, framework="pt", backend="pread") as opened:
        metadata = opened.metadata()
        broken = {tuple(state): reason for *state, reason in json.loads(metadata["broken"])}
        places = {tuple(state): place for place, state in enumerate(json.loads(metadata["videos"]))}
        found = wanted & places.keys()
        features = opened.get_tensor("features") if found else torch.empty(0)
    if found and (len(features) != len(places) or features.dim() != 3 or not features.isfinite().all()):
        raise ValueError("its features do not fit its videos")
    if found and shape is not None and (features.shape[1:] != shape or features.dtype != torch.float32):
        raise ValueError("its features have another shape")
    entries = {state: " ".join(reason.split()) for state, reason in broken.items() if state in wanted}
    return entries | {state: features[places[state]].clone() for state in found}
