"""The store in LanceDB: a folder or an object store's address, for archives that exact search is too slow for.

Tables: `models`, `files`, and `rows_FINGERPRINT` for each model. A commit adds rows before the files that name them, so
that a killed process leaves rows which the next one finds known, and no file without its rows. At an address, `writer`
names the process that began to write last.
"""

import json
import math
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from vitaclip.search.parts import folder_lock
from vitaclip.search.rows import FORMAT, FileEntry, Rows, Store, top_numbers
from vitaclip.strings import one_line

INDEX_ROWS = 200_000
"""Rows from which on a vector index is made: below, all rows in memory (0.4 GB) take no longer than it."""
_PROBES = 96
"""Parts of the index that are searched, of as many as the root of the rows: of a million, a third of them miss 8 % of
the ten best. With LanceDB's own parts of 4,000 rows each, a query takes three times as long at the same recall."""
_REFINE = 2
"""Candidates of the index whose exact distance is computed, as a multiple of those wanted."""
_TIDY_COMMITS, _KEPT = 50, timedelta(minutes=10)
"""Commits after which their fragments are joined at the earliest; how long a search may read an older version."""


class LanceStore(Store):
    """Rows and files in a LanceDB database."""

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            ValueError: the package is not installed, the address cannot be reached, or the version is another.
        """
        try:
            import lancedb
            import pyarrow
        except ImportError as error:
            raise ValueError(f"{address}: needs the package lancedb; pip install 'vitaclip[archive]'") from error
        self._arrow, self._address, self._token = pyarrow, address, ""
        self._commits, self._tidy_at = 0, _TIDY_COMMITS
        self._read_rows = dict[tuple[str, int], Sequence[Rows]]()
        """Of one model, as of a version of its table: those that are searched exactly."""
        try:
            self._db = lancedb.connect(address)
            self._load()
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{address}: cannot be reached ({one_line(error)}); check the address") from error

    def _load(self) -> None:
        self._tables = set(self._db.list_tables().tables)
        models, files = (
            self._db.open_table(name).to_arrow().to_pylist() if name in self._tables else []
            for name in ("models", "files")
        )
        if wrong := [each["format"] for each in models if each["format"] != FORMAT]:
            raise ValueError(f"{self._address}: an archive of format {wrong[0]}, this version reads {FORMAT}")
        self.models = {each["model"]: json.loads(each["about"]) for each in models}
        self.files = {each["path"]: FileEntry.of(*json.loads(each["entry"])) for each in files}
        self.apply({})

    @contextmanager
    def writing(self) -> Iterator[None]:
        shared = "://" in self._address
        with nullcontext() if shared else folder_lock(Path(self._address)):
            self._load()
            if shared:
                self._token = secrets.token_hex(8)
                self._put("writer", "row", [{"row": 0, "token": self._token}])
                self._load()
            yield
            if self._commits:
                self._tidy()

    def commit(
        self, model: str, about: Mapping[str, Any], rows: Sequence[Rows], files: Mapping[str, FileEntry | None]
    ) -> None:
        self._check_writer()
        if self.models.get(model) != about:
            self._put("models", "model", [{"model": model, "format": FORMAT, "about": json.dumps(about)}])
        if rows:
            self._put(f"rows_{model}", "", self._to_arrow(Rows.join(rows)))
        if known := [{"path": path, "entry": json.dumps(entry)} for path, entry in files.items() if entry]:
            self._put("files", "path", known)
        if gone := [path for path, entry in files.items() if not entry]:
            self._db.open_table("files").delete(f"path IN ({_quoted(gone)})")
        self.models, self._commits = {**self.models, model: dict(about)}, self._commits + 1
        self.apply(files)
        if self._commits >= self._tidy_at:
            self._optimize()
            self._tidy_at = self._commits + max(_TIDY_COMMITS, self._commits // 4)

    def _check_writer(self) -> None:
        """Raise ValueError if another process has begun to write at the address since; its update would conflict."""
        if self._token:
            mine = self._db.open_table("writer").update(f"token = '{self._token}'", {"token": self._token})
            if not mine.rows_updated:
                raise ValueError(f"{self._address}: another process has begun to write there; start one at a time")

    def _put(self, name: str, key: str, rows: Any) -> None:
        """Add rows to a table, in place of those that have the same key, if there is one."""
        if name not in self._tables:
            self._db.create_table(name, rows)
            self._tables.add(name)
        elif key:
            merge = self._db.open_table(name).merge_insert(key)
            merge.when_matched_update_all().when_not_matched_insert_all().execute(rows)
        else:
            self._db.open_table(name).add(rows)

    def _tidy(self) -> None:
        """Remove rows if most are of videos that no file has any more; index tables that are large enough for it."""
        from lancedb.index import BTree, IvfSq

        self._check_writer()
        for model in self.models:
            if (name := f"rows_{model}") not in self._tables:
                continue
            table, videos = self._db.open_table(name), self.videos(model)
            if 2 * len(dead := videos.keys() - self.places) > len(videos):
                table.delete(f"video IN ({_quoted(dead)})")
            if not table.list_indices() and (count := table.count_rows()) >= INDEX_ROWS:
                table.create_index("vector", config=IvfSq(distance_type="cosine", num_partitions=math.isqrt(count)))
                table.create_index("video", config=BTree())
        self._optimize()

    def _optimize(self) -> None:
        """Join small fragments, take new rows into the indices, and forget versions that no search reads any more."""
        for name in self._tables:
            self._db.open_table(name).optimize(cleanup_older_than=_KEPT)

    def rows(self, model: str) -> Sequence[Rows]:
        if (name := f"rows_{model}") not in self._tables:
            return []
        table = self._db.open_table(name)
        if (state := (model, table.version)) not in self._read_rows:
            self._read_rows = {state: [self._to_rows(table.to_arrow())]}
        return self._read_rows[state]

    def videos(self, model: str) -> dict[str, float]:
        if (name := f"rows_{model}") not in self._tables:
            return {}
        found = self._db.open_table(name).search().select(["video", "end_s"]).to_arrow()
        longest = found.group_by("video").aggregate([("end_s", "max")])
        return dict(zip(longest["video"].to_pylist(), longest["end_s_max"].to_pylist(), strict=True))

    def search(
        self, model: str, query: np.ndarray, count: int, videos: Collection[str] | None = None
    ) -> tuple[np.ndarray, Rows]:
        name = f"rows_{model}"
        if name not in self._tables or not (table := self._db.open_table(name)).list_indices():
            return super().search(model, query, count, videos)
        search: Any = table.search(query)  # typed as what has no distance
        search = search.distance_type("cosine").limit(count).nprobes(_PROBES).refine_factor(_REFINE)
        if videos is not None:
            search = search.where(f"video IN ({_quoted(videos)})", prefilter=True)
        rows = self._to_rows(search.to_arrow())
        scores = rows.vectors @ query
        return scores[(top := top_numbers(scores, count))], rows.take(top)

    def _to_arrow(self, rows: Rows) -> Any:
        vectors = self._arrow.FixedSizeListArray.from_arrays(rows.vectors.ravel(), rows.vectors.shape[1])
        looks = self._arrow.FixedSizeListArray.from_arrays(rows.looks.ravel(), rows.looks.shape[1])
        videos = [rows.ids[number] for number in rows.videos]
        start, end = rows.times.T.copy()
        return self._arrow.table({"video": videos, "start_s": start, "end_s": end, "looks": looks, "vector": vectors})

    def _to_rows(self, table: Any) -> Rows:
        """The rows of a table; those of a video may lie apart."""
        videos = table["video"].combine_chunks().dictionary_encode()
        times = np.stack([table["start_s"].to_numpy(), table["end_s"].to_numpy()], axis=1)
        looks, vectors = (
            np.array(table[name].combine_chunks().flatten()).reshape(len(table), -1) for name in ("looks", "vector")
        )
        return Rows(tuple(videos.dictionary.to_pylist()), videos.indices.to_numpy(), times, looks, vectors)


def _quoted(texts: Collection[str]) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
