"""What was said of each video, as one table for every command: `.csv`, `.jsonl`, or `.parquet`.

A row is a video: its path, its class and whether the first name is correct (both empty where no label is known), the
best k names with their probabilities, why it could not be read (then there are no names), device and precision. A
parquet file has the probabilities of all classes too, in the order of `class_names`, which its metadata hold as JSON.

Axes: K classes.
"""

import csv
import io
import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from vitaclip.data.labels import NO_LABEL, format_labels
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.evaluation.metrics import Scores
from vitaclip.files import atomic_write, csv_text, with_filename, write_json, write_text
from vitaclip.runtime import Computed
from vitaclip.strings import defuse, storable
from vitaclip.untrusted import read_json

TOP_NAMES = 5
REMARKS = ("label", "known", "chosen")
"""Columns of what else is said of a video, see `Prediction`: `none of these` may be its label, `chosen` is a set."""
FORMATS = (".csv", ".jsonl", ".parquet")

Row = Mapping[str, str | bool | float | None]


class PredictionWriter:
    """Writes predictions row by row; every row of a csv or jsonl file is there at once, whatever happens later.

    Parquet has no file before its end, so its rows are written when the block ends, also by Ctrl-C.

    Example:
        >>> import torch
        >>> with PredictionWriter("out.csv", ["run", "jump"], 1) as writer:
        ...     writer.write("a.mp4", torch.tensor([0.9, 0.1]))
        ...     writer.write("b.mp4", error="b.mp4 is empty")
    """

    def __init__(
        self,
        file: str | Path,
        class_names: Sequence[str],
        top_k: int = TOP_NAMES,
        computed: Computed | None = None,
        settings: Mapping[str, Any] | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        """Open the file.

        Args:
            file: ends in .csv, .jsonl or .parquet.
            class_names: the K candidates.
            top_k: names for each video, at most; fewer if there are fewer candidates.
            computed: device and precision.
            settings: what the rows are made with, ready for JSON; a hidden file beside the rows keeps them. Rows of
                the same settings stay, see `was_there`, but those with an error, whose videos are to be tried again;
                no others are written over. None: nothing stays.
            remarks: further columns, some of `REMARKS`.

        Raises:
            ValueError: see `check_table_file`; or the file holds anything but rows of these settings.
            OSError: the system refuses.
        """
        check_table_file(file)
        self._names, self._top_k = tuple(class_names), min(top_k, len(class_names))
        self._computed = computed or Computed()
        ranks = [f"{what}{rank}" for rank in range(1, self._top_k + 1) for what in ("name", "probability")]
        self._remarks = tuple(remarks)
        self.columns = ("path", "class", "correct", *ranks, *remarks, "error", "device", "precision")
        file, suffix = Path(file), Path(file).suffix.lower()
        self._of_csv = suffix == ".csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        note, there = file.with_name(f".{file.name}.settings"), list[dict[str, Any]]()
        if settings is None:
            note.unlink(missing_ok=True)
        else:
            there = self._rows_there(file, note, settings)
            write_json(note, settings)
        self._there = Counter(row["path"] for row in there)
        self._table = (_ParquetFile if suffix == ".parquet" else _TextFile)(file, self.columns, self._names, there)

    def _rows_there(self, file: Path, note: Path, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The whole rows that a writer with these settings left, but those of videos that could not be read."""
        if not file.exists() or not file.stat().st_size:
            return []
        try:
            rows = _read_rows(file, self.columns)
            ours = note.exists() and read_json(note) == settings and all({*row} >= {*self.columns} for row in rows)
        except (ValueError, TypeError, csv.Error):  # another kind of file, or of JSON
            ours = False
        if not ours:
            raise ValueError(
                f"{file}: holds no rows of this model, these classes and settings; name another file, or remove it"
            )
        return [row for row in rows if not row["error"]]

    def was_there(self, path: object) -> bool:
        """Whether the file had a row of this video already; of a path that comes twice, each row counts once."""
        shown = defuse(storable(path)) if self._of_csv else storable(path)
        self._there[shown] -= 1
        return self._there[shown] >= 0

    def write(
        self,
        path: object,
        scores: Tensor | None = None,
        labels: Sequence[int] = (),
        error: str = "",
        remarks: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a row: of a video with scores (K,) in [0, 1], or of one that could not be read, with an error; and what
        else is said of it, where such columns were asked for.

        Raises:
            OSError: the system refuses, as on a full disk; the rows before are whole.
        """
        row: dict[str, str | bool | float | None] = dict.fromkeys(self.columns)
        row |= {"path": str(path), "class": format_labels(self._names[label] for label in labels) or None}
        if scores is not None:
            best = scores.topk(self._top_k)
            chosen = best.indices.tolist()
            row["correct"] = chosen[0] in labels if labels else None
            for rank, (index, probability) in enumerate(zip(chosen, best.values.tolist(), strict=True), start=1):
                row |= {f"name{rank}": self._names[index], f"probability{rank}": probability}
        for name in self._remarks:
            value = (remarks or {}).get(name)
            row[name] = format_labels(value) if isinstance(value, list) else value
        row |= {"error": error or None, "device": self._computed.device, "precision": self._computed.precision}
        self._table.write({k: storable(v) if isinstance(v, str) else v for k, v in row.items()}, scores)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._table.close()


def check_table_file(file: str | Path, formats: Sequence[str] = FORMATS) -> None:
    """Make sure that a table can be written to a file of this name.

    Raises:
        ValueError: for another ending, or a parquet file without the package that writes it.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in formats:
        raise ValueError(f"{file}: name a file that ends in {', '.join(formats)}")
    if suffix == ".parquet":
        import_pyarrow(file)


def write_predictions(
    file: str | Path, samples: Sequence[VideoSample], class_names: Sequence[str], scores: Scores
) -> None:
    """Write a row for each listed video, in the order of the list.

    Args:
        file: see `PredictionWriter`.
        samples: the videos listed; `scores.indices` count through them.
        class_names: the candidates, which labels count through.
        scores: of the videos that could be read.
    """
    position = {index: n for n, index in enumerate(scores.indices.tolist())}
    with PredictionWriter(file, class_names, computed=scores.computed) as writer:
        for index in sorted({*position, *scores.skipped}):
            sample = samples[index]
            if index in position:
                n = position[index]
                labels = [label for label in scores.labels[n].view(-1).tolist() if label != NO_LABEL]
                writer.write(sample.path, scores.probabilities[n], labels)
            else:
                writer.write(sample.path, labels=sample.labels, error=scores.skipped[index])


class _TextFile:
    """Lines of csv or JSON, every one whole: what a full disk or Ctrl-C leaves of a line is taken back."""

    def __init__(
        self, file: Path, columns: Sequence[str], _class_names: Sequence[str], there: Sequence[dict[str, Any]]
    ) -> None:
        """Behind the rows that stay."""
        self._path, self._csv = file, file.suffix.lower() == ".csv"
        rows = [[*row.values()] for row in there]
        write_text(file, csv_text([columns, *rows]) if self._csv else "".join(map(_json_line, there)))
        self._file = file.open("ab", buffering=0)

    def write(self, row: Row, _scores: Tensor | None) -> None:
        if self._csv:
            cells = [f"{v:.6f}" if isinstance(v, float) else int(v) if isinstance(v, bool) else v for v in row.values()]
            self._append(csv_text([cells], for_people=True))
        else:
            self._append(_json_line(row))

    def _append(self, line: str) -> None:
        start, data = self._file.tell(), memoryview(line.encode(errors="backslashreplace"))
        try:
            with with_filename(self._path):
                while data:
                    data = data[self._file.write(data) :]
        except BaseException:
            self._file.truncate(start)
            raise

    def close(self) -> None:
        with with_filename(self._path):
            self._file.close()


class _ParquetFile:
    """Rows are kept, and become a file at the end."""

    def __init__(
        self, file: Path, columns: Sequence[str], class_names: Sequence[str], there: Sequence[dict[str, Any]]
    ) -> None:
        """Behind the rows that stay."""
        self._file, self._columns, self._class_names, self._rows = file, columns, class_names, [*there]

    def write(self, row: Row, scores: Tensor | None) -> None:
        self._rows.append({**row, "probabilities": None if scores is None else scores.float().numpy()})

    def close(self) -> None:
        arrow, parquet = import_pyarrow(self._file)
        kinds = {"correct": arrow.bool_(), "probability": arrow.float32(), "known": arrow.float32()}
        fields = [(name, kinds.get(name.rstrip("0123456789"), arrow.string())) for name in self._columns]
        schema = arrow.schema([*fields, ("probabilities", arrow.list_(arrow.float32()))])
        table = arrow.Table.from_pylist(
            self._rows, schema.with_metadata({"class_names": json.dumps(self._class_names)})
        )
        with atomic_write(self._file) as temporary:
            parquet.write_table(table, temporary)


def _read_rows(file: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a table; what a power cut left of a line is none."""
    if file.suffix.lower() == ".parquet":
        return [*import_pyarrow(file)[1].read_table(file).to_pylist()]
    text, _, _ = file.read_bytes().decode(errors="replace").rpartition("\n")
    if not text:
        warnings.warn(f"{file}: holds no whole row, and is begun anew", stacklevel=2)
        return []
    if file.suffix.lower() == ".jsonl":
        return [json.loads(line) for line in text.split("\n")]
    heading, *lines = csv.reader(io.StringIO(text, newline=""))
    if heading != [*columns]:
        raise ValueError(f"{file}: has other columns")
    return [dict(zip(heading, line, strict=True)) for line in lines]


def _json_line(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def import_pyarrow(file: str | Path) -> tuple[Any, Any]:
    """The package and its parquet module, for a file of this name; ValueError if it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(
            f"{file}: parquet needs the package pyarrow; pip install 'vitaclip[parquet]', or name a .csv file"
        ) from error
    return pyarrow, pyarrow.parquet
