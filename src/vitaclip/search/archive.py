"""An archive of videos: their windows as vectors of one or several models, made once and searched often.

Axes: W windows of a video, D numbers of a vector.
"""

import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F

from vitaclip.data.lists.sources import find_videos
from vitaclip.data.reading.path import GivenVideo, VideoPath
from vitaclip.evaluation.feature_cache import FileState, file_state
from vitaclip.moments.config import WindowsConfig
from vitaclip.moments.vectors import VideoVectors, window_vectors
from vitaclip.predictor import Predictor
from vitaclip.search.hits import Hits, SearchFilter, fold
from vitaclip.search.lance import LanceStore
from vitaclip.search.parts import MANIFEST, PartStore
from vitaclip.search.query import file_vector, text_vector
from vitaclip.search.rows import FileEntry, Rows, Store
from vitaclip.settings import from_dict, to_dict

_COMMIT_FILES, _COMMIT_ROWS, _COMMIT_SECONDS = 64, 20_000, 30.0
"""A commit follows when one of these is reached; this is also what a kill costs at most."""
_CANDIDATES = 16
"""Rows that are looked at for each hit, because windows of one moment overlap."""

Embedded = tuple[str, str, FileState, VideoVectors | None]
"""Path, hash and state of a video, and its windows; None if a video of that hash has rows."""
Engine = Callable[[Predictor, WindowsConfig, Sequence[VideoPath], Collection[str]], Iterator[Embedded]]
"""Embeds videos elsewhere, in any order; it is given the hashes of those that have rows."""


@dataclass
class Changes:
    """What `Archive.add` did."""

    embedded: int = 0
    windows: int = 0
    """Rows of these videos."""
    known: int = 0
    """Files that are new or changed, with content that has rows: moved files and copies."""
    same: int = 0
    """Files that are as they were, damaged ones included."""
    removed: int = 0
    """Files that are gone."""
    damaged: list[str] = field(default_factory=list)
    """A line on each file that could not be read, or not to its end."""


class Archive:
    """Videos that are searched with words, pictures and clips.

    Example:
        >>> from vitaclip import DataConfig
        >>> predictor = Predictor("miniature", data=DataConfig(workers=0))
        >>> archive = Archive.open("archive")
        >>> archive.add(predictor, ["videos"]).embedded
        2
        >>> (found,) = archive.search(predictor, ["red heart moving left"], top_k=1)
        >>> print(found.hits[0])
        [0.6...] ...red_heart_moving_left/00001.mp4 @ 00:00-00:02
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @classmethod
    def open(cls, path: str | Path) -> "Archive":
        """The archive in a folder, which need not exist; in LanceDB if its name ends in `.lance`, or is an address such
        as `s3://bucket/archive`.

        Raises:
            ValueError: it is of another version, damaged or something else; or the address cannot be reached.
        """
        return cls(LanceStore(str(path)) if "://" in str(path) or _is_lance(path) else PartStore(path))

    @staticmethod
    def is_at(path: str | Path) -> bool:
        """Whether there is one in this folder.

        >>> Archive.is_at("videos")
        False
        """
        return (Path(path) / MANIFEST).is_file() or (_is_lance(path) and Path(path).is_dir())

    def add(
        self,
        predictor: Predictor,
        videos: Sequence[str | VideoPath],
        windows: WindowsConfig | None = None,
        *,
        labels: Mapping[str, tuple[str, ...]] | None = None,
        shard: tuple[int, int] = (0, 1),
        below: Sequence[str | Path] = (),
        engine: Engine | None = None,
        on_progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Changes:
        """Bring the archive up to date with some videos: embed what is new or changed, and forget what is gone.

        What is committed stays, whatever ends the call; the next one goes on behind it. A file is as it was if its size
        and time of modification are; a video is known by its content, wherever it lies. A damaged file is tried again
        when it has changed.

        Args:
            predictor: the model. Rows of several models lie side by side; a search reads those of one.
            videos: files, addresses, and folders, of which files that are gone are forgotten.
            windows: the same in every call with this model.
            labels: of files, by absolute path.
            shard: (i, n), i from 0: of the videos, those of the i-th of n parts alone, so that n processes share the
                work, each with an archive of its own; see `merge`.
            below: further folders of which files that are gone are forgotten.
            engine: embeds the videos elsewhere, such as `search.cluster.embed_on_ray`. None: here.
            on_progress: called with the number of files done, and with that of all.

        Raises:
            ValueError: no video, another process is writing, or the rows of this model were made in another way.
        """
        windows = windows or WindowsConfig()
        model, about = _describe(predictor, windows)
        with self.store.writing():
            self._check(model, about)
            update = _Update(self.store, model, about, labels or {})
            found = find_videos(videos)
            paths = {name: path for path in found if _part(name := _name(path), shard[1]) == shard[0]}
            try:
                if engine:
                    known = frozenset(update.known)
                    for name, video, state, vectors in engine(predictor, windows, [*update.changed(paths)], known):
                        if update.expect(name, video, state) and vectors:
                            update.take(vectors)
                        on_progress(update.done, len(paths))
                else:
                    new = update.unknown(paths)
                    for vectors in window_vectors(new, predictor.reader, predictor.encoder, windows, predictor.data):
                        update.take(vectors)
                        on_progress(update.done, len(paths))
                folders = [Path(str(each)).absolute() for each in [*videos, *below] if Path(str(each)).is_dir()]
                update.remove_gone(paths, folders)
            finally:
                update.commit()
        return update.changes

    def merge(self, others: Sequence["Archive"]) -> None:
        """Take over the rows and files of other archives, such as those of the parts of `add(shard=...)`.

        Raises:
            ValueError: another process is writing, or rows of one model were made in different ways.
        """
        with self.store.writing():
            for other in others:
                alive = {entry.video for entry in other.store.files.values()}
                for model, about in other.store.models.items():
                    self._check(model, about)
                    new = alive - self.store.videos(model).keys()
                    for piece in other.store.rows(model):
                        if len(numbers := piece.of(new).nonzero()[0]):
                            self.store.commit(model, about, [piece.take(numbers)], {})
                    self.store.commit(model, about, [], other.store.files)

    def search(
        self,
        predictor: Predictor,
        queries: Sequence[str | Path],
        top_k: int = 10,
        only: SearchFilter | None = None,
        templates: Sequence[str] = (),
    ) -> list[Hits]:
        """The moments that are most like each of some queries, by the cosine of their vectors.

        Of windows of a video that overlap, the best stands for all; so does one of pictures that are nearly the same.

        Args:
            predictor: the model whose rows are searched, as it was when they were made.
            queries: texts, also with ` + ` or ` - ` between; or Paths of pictures and clips.
            top_k: hits of each query.
            only: which videos are searched.
            templates: texts with one `{}` each that words are put in, in place of the learned context.

        Raises:
            ValueError: no rows of this model, or a query that it cannot take (of a file a `VideoError`).
        """
        model = predictor.provenance()["fingerprint"]
        if model not in self.store.models:
            known = "; ".join(f"{about['model']} ({name})" for name, about in self.store.models.items())
            remedy = f"there are rows of {known}: name that model, or index with this one" if known else "index first"
            raise ValueError(f"no rows of {predictor.name} ({model}); {remedy}")
        windows = from_dict(WindowsConfig, self.store.models[model]["windows"])
        vectors = [
            file_vector(predictor, query, windows)
            if isinstance(query, Path)
            else text_vector(predictor, query, templates)
            for query in queries
        ]
        wanted = self._places(model, only) if only and only != SearchFilter() else None
        places = self.store.places if wanted is None else wanted
        found, count = list[Hits](), _CANDIDATES * top_k
        for query, vector in zip(queries, vectors, strict=True):
            while True:
                scores, rows = self.store.search(model, vector, count, wanted)
                there = rows.of(places).nonzero()[0]
                hits = fold(scores[there], rows.take(there), places, top_k)
                if len(hits) == top_k or len(rows) < count:
                    break
                count *= 4
            found.append(Hits(str(query), hits))
        return found

    def _places(self, model: str, only: SearchFilter) -> dict[str, list[tuple[str, FileEntry]]]:
        """The files of each video that fits."""
        lengths, places = self.store.videos(model), dict[str, list[tuple[str, FileEntry]]]()
        for video in lengths.keys() & self.store.places:
            if fitting := [each for each in self.store.places[video] if only.takes(*each, lengths[video])]:
                places[video] = fitting
        return places

    def _check(self, model: str, about: Mapping[str, Any]) -> None:
        """Raise ValueError if the rows of a model were made in another way."""
        before = self.store.models.get(model, about)
        for what in ("views", "windows"):
            if before[what] != about[what]:
                raise ValueError(
                    f"{about['model']}: its rows were made with {what} {before[what]}, not {about[what]}; give the"
                    " same, or name another folder"
                )


class _Update:
    """One call of `Archive.add`."""

    def __init__(
        self, store: Store, model: str, about: Mapping[str, Any], labels: Mapping[str, tuple[str, ...]]
    ) -> None:
        self._store, self._model, self._about, self._labels = store, model, about, labels
        self.known = set(store.videos(model))
        """Videos that have rows."""
        self._waiting = dict[str, dict[str, FileEntry]]()
        """Files of each video that is on its way, in order."""
        self._rows, self._files, self._since = list[Rows](), dict[str, FileEntry | None](), time.monotonic()
        self.changes, self.done = Changes(), 0

    def changed(self, paths: Mapping[str, VideoPath]) -> Iterator[VideoPath]:
        """The videos that are new or changed; of the other files it takes note."""
        for name, path in paths.items():
            state, before = file_state(path)[1:], self._store.files.get(name)
            if before and before.state == state and (before.video in self.known or not before.video):
                self.changes.same += 1
                self._note(name, before)
            else:
                yield path

    def unknown(self, paths: Mapping[str, VideoPath]) -> Iterator[VideoPath]:
        """The videos without rows; of the other files it takes note."""
        return (path for path in self.changed(paths) if self.expect(_name(path), *identify(path)))

    def expect(self, name: str, video: str, state: FileState) -> bool:
        """Whether the windows of a video are to come; of a file whose video has rows it takes note."""
        entry = FileEntry(video, state)
        if video in self.known:
            self.changes.known += 1
            self._note(name, entry)
            return False
        self._waiting.setdefault(video, {})[name] = entry
        return len(self._waiting[video]) == 1

    def take(self, found: VideoVectors) -> None:
        """Take in the windows of the video that has waited longest."""
        video = next(iter(self._waiting))
        count = len(found.times)
        for name, entry in self._waiting.pop(video).items():
            if found.error:
                self.changes.damaged.append(found.error)
            if count or entry.state:  # what is not there, or cannot be reached, is tried again
                self._note(name, entry._replace(video=video if count else "", error=found.error))
        if count:
            vectors = F.normalize(found.vectors, dim=-1).numpy()
            self._rows.append(Rows((video,), np.zeros(count, np.int32), found.times, found.looks, vectors))
            self.known.add(video)
            self.changes.embedded += 1
            self.changes.windows += count
        late = time.monotonic() - self._since > _COMMIT_SECONDS
        if late or len(self._files) >= _COMMIT_FILES or sum(map(len, self._rows)) >= _COMMIT_ROWS:
            self.commit()

    def remove_gone(self, present: Mapping[str, VideoPath], folders: Sequence[Path]) -> None:
        """Forget the files below these folders that are not there any more."""
        for name in self._store.files:
            path = Path(name.partition("::")[0])
            if name not in present and any(map(path.is_relative_to, folders)) and not path.exists():
                self._files[name] = None
                self.changes.removed += 1

    def commit(self) -> None:
        """Put what has come together into the store."""
        if self._files or self._rows or self._model not in self._store.models:
            self._store.commit(self._model, self._about, self._rows, self._files)
        self._rows, self._files, self._since = [], {}, time.monotonic()

    def _note(self, name: str, entry: FileEntry) -> None:
        self.done += 1
        before = self._store.files.get(name)
        entry = entry._replace(labels=self._labels.get(name, before.labels if before else ()))
        if entry != before:
            self._files[name] = entry


def _describe(predictor: Predictor, windows: WindowsConfig) -> tuple[str, dict[str, Any]]:
    """The fingerprint of a model, and what has to be the same for its rows to compare."""
    reader, name = predictor.reader, predictor.name
    views = {
        "frames": reader.sampling.num_frames,
        "crop": reader.crop,
        "pixel_aspect": reader.options.pixel_aspect,
        "normalization": predictor.views.normalization,
    }
    where = str(Path(name).absolute()) if Path(name).exists() else name
    return predictor.provenance()["fingerprint"], {"model": where, "views": views, "windows": to_dict(windows)} | {
        "plain": predictor.model.is_zero_shot
    }


def _is_lance(path: str | Path) -> bool:
    return Path(path).suffix == ".lance"


def _name(path: VideoPath) -> str:
    return str(path.absolute())


def _part(name: str, count: int) -> int:
    """Which of `count` parts a file belongs to, wherever it is asked."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8]) % count


def identify(path: VideoPath) -> tuple[str, FileState]:
    """The hash of a video's content, of an address its own; and its state, none if it cannot be read."""
    digest, state = hashlib.sha256(), file_state(path)[1:]
    files = sorted(path.iterdir()) if isinstance(path, Path) and path.is_dir() else [path]
    try:
        for file in files if not isinstance(path, GivenVideo) else ():
            with file.open("rb") as opened:
                while piece := opened.read(2**20):
                    digest.update(piece)
    except OSError:
        state = ()
    if not state:
        digest.update(_name(path).encode(errors="surrogateescape"))
    return digest.hexdigest()[:32], state
