"""The store in LanceDB: a folder or an object store's address, for archives that exact search is too slow for.

Tables: `models`, `files`, and `rows_FINGERPRINT` for each model. A commit adds rows before the files that name them, so
that a killed process leaves rows which the next one finds known, and no file without its rows. At an address, `writer`
names the process that began to write last.
"""

import json
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
"""Rows from which on a vector index is made: without one a query of 100,000 took 0.2 s."""
_PROBES = 20
"""Parts of the index that are searched, of some 4,000 rows each."""
_REFINE = 5
"""Candidates of the index whose exact distance is computed, as a multiple of those wanted."""
_TIDY_COMMITS, _KEPT = 50, timedelta(hours=1)
"""Commits after which their fragments are joined; how long a version stays, since a search may be reading it."""


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
        self._arrow, self._address, self._token, self._commits = pyarrow, address, "", 0
        try:
            self._db = lancedb.connect(address)
            self._load()
        except (OSError, RuntimeError) as error:
            raise ValueError(f"{address}: cannot be reached ({one_line(error)}); check the address") from error

    def _load(self) -> None:
        self._tables = set(self._db.list_tables().tables)
        models = self._read("models")
        if wrong := [each["format"] for each in models if each["format"] != FORMAT]:
            raise ValueError(f"{self._address}: an archive of format {wrong[0]}, this version reads {FORMAT}")
        self.models = {each["model"]: json.loads(each["about"]) for each in models}
        self.files = {}
        self.apply({each["path"]: FileEntry.of(*json.loads(each["entry"])) for each in self._read("files")})

    def _read(self, table: str) -> list[dict[str, Any]]:
        return self._db.open_table(table).to_arrow().to_pylist() if table in self._tables else []

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
            self._tidy()

    def commit(
        self, model: str, about: Mapping[str, Any], rows: Sequence[Rows], files: Mapping[str, FileEntry | None]
    ) -> None:
        self._check_writer()
        if self.models.get(model) != about:
            self._put("models", "model", [{"model": model, "format": FORMAT, "about": json.dumps(about)}])
        if rows:
            table = self._to_arrow(Rows.join(rows))
            if (name := f"rows_{model}") in self._tables:
                self._db.open_table(name).add(table)
            else:
                self._create(name, table)
        known = [{"path": path, "entry": json.dumps(entry)} for path, entry in files.items() if entry]
        if known:
            self._put("files", "path", known)
        if gone := [path for path, entry in files.items() if not entry]:
            self._db.open_table("files").delete(f"path IN ({_quoted(gone)})")
        self.models = {**self.models, model: dict(about)}
        self.apply(files)
        self._commits += 1
        if self._commits % _TIDY_COMMITS == 0:
            self._optimize()

    def _check_writer(self) -> None:
        """Raise ValueError if another process has begun to write at the address since; its update would conflict."""
        if self._token:
            mine = self._db.open_table("writer").update(f"token = '{self._token}'", {"token": self._token})
            if not mine.rows_updated:
                raise ValueError(
                    f"{self._address}: another process has begun to write there, this one has ended; what it committed"
                    " stays. Start one at a time, or give each its --shard and archive"
                )

    def _put(self, name: str, key: str, rows: list[dict[str, Any]]) -> None:
        if name in self._tables:
            table = self._db.open_table(name)
            table.merge_insert(key).when_matched_update_all().when_not_matched_insert_all().execute(rows)
        else:
            self._create(name, rows)

    def _create(self, name: str, rows: Any) -> None:
        self._db.create_table(name, rows)
        self._tables.add(name)

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
            if not table.list_indices() and table.count_rows() >= INDEX_ROWS:
                table.create_index("vector", config=IvfSq(distance_type="cosine"))
                table.create_index("video", config=BTree())
        self._optimize()

    def _optimize(self) -> None:
        """Join small fragments, take new rows into the indices, and forget versions that no search reads any more."""
        for name in self._tables:
            self._db.open_table(name).optimize(cleanup_older_than=_KEPT)

    def rows(self, model: str) -> Sequence[Rows]:
        return (
            [self._to_rows(self._db.open_table(f"rows_{model}").to_arrow())] if f"rows_{model}" in self._tables else []
        )

    def videos(self, model: str) -> dict[str, float]:
        if (name := f"rows_{model}") not in self._tables:
            return {}
        found = self._db.open_table(name).search().select(["video", "end_s"]).to_arrow()
        longest = found.group_by("video").aggregate([("end_s", "max")])
        return dict(zip(longest["video"].to_pylist(), longest["end_s_max"].to_pylist(), strict=True))

    def search(
        self, model: str, query: np.ndarray, count: int, videos: Collection[str] | None = None
    ) -> tuple[np.ndarray, Rows]:
        search: Any = self._db.open_table(f"rows_{model}").search(query)  # typed as what has no distance
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
        ids, videos = np.unique(np.array(table["video"].to_pylist(), str), return_inverse=True)
        times = np.stack([table["start_s"].to_numpy(), table["end_s"].to_numpy()], axis=1)
        looks, vectors = (
            table[name].combine_chunks().flatten().to_numpy().reshape(len(table), -1) for name in ("looks", "vector")
        )
        return Rows(tuple(ids.tolist()), videos.astype(np.int32), times, looks, vectors)


def _quoted(texts: Collection[str]) -> str:
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
