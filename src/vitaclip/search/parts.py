"""The store without a database: files of rows that are never changed, and a manifest that names those that count.

A commit writes its rows and its files as parts of their own, then replaces the manifest by one rename: a part that it
does not name is what a killed process left. Small parts at the end are written anew together with what comes, as in a
log-structured merge tree: there are about log2(n) parts after n commits, and each row was written as often at most.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import safe_open

from vitaclip.files import remove_leftovers, write_json, write_safetensors, write_text
from vitaclip.search.rows import FORMAT, FileEntry, Rows, Store
from vitaclip.untrusted import read_json, reading

ResultT = TypeVar("ResultT")
MANIFEST = "archive.json"
_REMEDY = "index anew into another folder"
_COLUMNS = ("videos", "times", "looks", "vectors")
_PART_ROWS = 200_000
"""A part of so many rows is not written anew: 0.4 GB, which a commit would have in memory twice."""


class PartStore(Store):
    """Rows and files in one folder, which need not exist."""

    def __init__(self, folder: str | Path) -> None:
        """Read what is there.

        Raises:
            ValueError: the folder holds an archive of another version, a damaged one, or something else.
        """
        self.folder = Path(folder)
        self._pieces, self._manifest = dict[str, Rows](), dict[str, Any]()
        self._retry(self._load)

    def _retry(self, read: Callable[[], ResultT]) -> ResultT:
        """What is read, although a writer may just have put a part into another one."""
        while True:
            try:
                return read()
            except (OSError, ValueError):
                before = self._manifest
                self._load()
                if self._manifest == before:
                    raise

    def _load(self) -> None:
        file = self.folder / MANIFEST
        empty: dict[str, Any] = {"format": FORMAT, "next": 0, "models": {}, "rows": {}, "files": []}
        with reading(self.folder, _REMEDY):
            self._manifest = read_json(file, _REMEDY) if file.exists() else empty
            if (found := self._manifest["format"]) != FORMAT:
                raise ValueError(f"{self.folder}: an archive of format {found}, this version reads {FORMAT}; {_REMEDY}")
            if not file.exists() and self.folder.exists() and any(map(_is_foreign, self.folder.iterdir())):
                raise ValueError(f"{self.folder}: holds something else than an archive; name another folder")
            self.models, self.files = self._manifest["models"], {}
            for name, _ in self._manifest["files"]:
                self.apply(self._read_files(name))

    def _read_files(self, name: str) -> dict[str, FileEntry | None]:
        with reading(self.folder / name, _REMEDY):
            entries = json.loads((self.folder / name).read_text("utf-8"))
            return {path: entry and FileEntry.of(*entry) for path, entry in entries.items()}

    def _piece(self, name: str) -> Rows:
        if name not in self._pieces:
            file = self.folder / name
            with reading(file, _REMEDY), safe_open(file, framework="pt") as opened:
                columns = [opened.get_tensor(column).numpy() for column in _COLUMNS]
                self._pieces[name] = Rows(tuple(json.loads(opened.metadata()["ids"])), *columns)
        return self._pieces[name]

    def rows(self, model: str) -> Sequence[Rows]:
        return self._retry(lambda: [self._piece(name) for name, _ in self._manifest["rows"].get(model, ())])

    @contextmanager
    def writing(self) -> Iterator[None]:
        with folder_lock(self.folder):
            self._load()
            remove_leftovers(self.folder)
            self._remove_unnamed()
            self._drop_dead()
            yield

    def commit(
        self, model: str, about: Mapping[str, Any], rows: Sequence[Rows], files: Mapping[str, FileEntry | None]
    ) -> None:
        manifest = json.loads(json.dumps(self._manifest))
        manifest["models"][model] = dict(about)
        of_model, of_files = manifest["rows"].setdefault(model, []), manifest["files"]
        if rows:
            pieces, count = list(rows), sum(map(len, rows))
            while of_model and of_model[-1][1] < min(2 * count, _PART_ROWS):
                name, more = of_model.pop()
                pieces, count = [self._piece(name), *pieces], count + more
            of_model.append([self._write_rows(manifest, Rows.join(pieces)), count])
        if files:
            merged, count = dict(files), len(files)
            while of_files and of_files[-1][1] < 2 * count:
                merged = self._read_files(of_files.pop()[0]) | merged
                count = len(merged)
            if not of_files:
                merged = {path: entry for path, entry in merged.items() if entry}
            name = self._new_name(manifest, "files.json")
            write_text(self.folder / name, json.dumps(merged))
            of_files.append([name, len(merged)])
        self._replace(manifest)
        self.apply(files)

    def _replace(self, manifest: dict[str, Any]) -> None:
        write_json(self.folder / MANIFEST, manifest)
        self._manifest, self.models = manifest, manifest["models"]
        self._remove_unnamed()

    def _new_name(self, manifest: dict[str, Any], kind: str) -> str:
        manifest["next"] += 1
        return f"{manifest['next']:08}.{kind}"

    def _write_rows(self, manifest: dict[str, Any], rows: Rows) -> str:
        name = self._new_name(manifest, "rows.safetensors")
        columns = {column: torch.from_numpy(getattr(rows, column)) for column in _COLUMNS}
        write_safetensors(self.folder / name, columns, {"ids": json.dumps(rows.ids)})
        return name

    def _remove_unnamed(self) -> None:
        """Remove parts that the manifest does not name: what was put into others, and what a killed process left."""
        parts = [*self._manifest["files"], *(part for parts in self._manifest["rows"].values() for part in parts)]
        named = {name for name, _ in parts}
        for file in self.folder.glob("[0-9]*.*"):
            if file.name not in named:
                file.unlink()
                self._pieces.pop(file.name, None)

    def _drop_dead(self) -> None:
        """Write the rows of a model anew, part by part, if most are of videos that no file has any more."""
        for model in self.models:
            living = [np.flatnonzero(piece.of(self.places)) for piece in self.rows(model)]
            manifest = json.loads(json.dumps(self._manifest))
            parts = manifest["rows"].get(model, ())
            if 2 * sum(map(len, living)) < sum(count for _, count in parts):
                kept = [(self._piece(name), own) for (name, _), own in zip(parts, living, strict=True) if len(own)]
                written = ((self._write_rows(manifest, Rows.join([piece.take(own)])), len(own)) for piece, own in kept)
                manifest["rows"][model] = [*map(list, written)]
                self._replace(manifest)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep other processes from writing in a folder; ValueError if one does."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"{folder}: another process is writing there; let it end, or name another") from None
    try:
        yield
    finally:
        lock.release()


def _is_foreign(file: Path) -> bool:
    return not file.name.startswith(".") and not file.name.endswith((".files.json", ".rows.safetensors"))
