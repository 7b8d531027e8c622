"""What was said of each video, as one table for every command: `.csv`, `.jsonl`, or `.parquet`.

A row is a video: its path, its class and whether the first name is correct (both empty where no label is known), the
best k names with their probabilities, why it could not be read (then there are no names), device and precision. A
parquet file has the probabilities of all classes too, in the order of `class_names`, which its metadata hold as JSON.

Axes: K classes.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from torch import Tensor

from vitaclip.data import VideoSample
from vitaclip.data.labels import NO_LABEL, format_labels
from vitaclip.evaluate.metrics import Scores
from vitaclip.files import atomic_write, with_filename
from vitaclip.runtime import Computed
from vitaclip.strings import defuse

TOP_NAMES = 5
_ROW_GROUP = 1024

Row = Mapping[str, str | bool | float | None]


class _Table(Protocol):
    """A file of one format that takes rows one by one."""

    def write(self, row: Row, probabilities: list[float] | None) -> None: ...

    def close(self) -> None: ...


class PredictionWriter:
    """Writes predictions row by row; every row of a csv or jsonl file is there at once, whatever happens later.

    Parquet has no file before its end, so its rows are written when the block ends, also by Ctrl-C. A file that was
    there before goes when the writer is made: old results never look like new ones.

    Example:
        >>> with PredictionWriter("out.csv", ["run", "jump"], 1) as writer:
        ...     writer.write("a.mp4", torch.tensor([0.9, 0.1]))
        ...     writer.write("b.mp4", error="b.mp4 is empty")
    """

    def __init__(
        self, file: str | Path, class_names: Sequence[str], top_k: int = TOP_NAMES, computed: Computed | None = None
    ) -> None:
        """Open the file.

        Args:
            file: ends in .csv, .jsonl or .parquet.
            class_names: the K candidates.
            top_k: names for each video, at most; fewer if there are fewer candidates.
            computed: device and precision.

        Raises:
            ValueError: see `check_predictions_file`.
            OSError: the system refuses.
        """
        check_predictions_file(file)
        self._names, self._top_k = tuple(class_names), min(top_k, len(class_names))
        self._computed = computed or Computed()
        ranks = [f"{what}{rank}" for rank in range(1, self._top_k + 1) for what in ("name", "probability")]
        self.columns = ("path", "class", "correct", *ranks, "error", "device", "precision")
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        self._table: _Table = _FORMATS[Path(file).suffix.lower()](Path(file), self.columns, self._names)

    def write(self, path: object, scores: Tensor | None = None, labels: Sequence[int] = (), error: str = "") -> None:
        """Write a row: of a video with scores (K,) in [0, 1], or of one that could not be read, with an error.

        Raises:
            OSError: the system refuses, as on a full disk; the rows before are whole.
        """
        best = None if scores is None else scores.topk(self._top_k)
        chosen = [] if best is None else best.indices.tolist()
        row: dict[str, str | bool | float | None] = dict.fromkeys(self.columns)
        row |= {
            "path": str(path),
            "class": format_labels(self._names[label] for label in labels) or None,
            "error": error or None,
        }
        row |= {"correct": chosen[0] in labels if labels and chosen else None}
        for rank, place in enumerate(chosen, start=1):
            assert best is not None
            row |= {f"name{rank}": self._names[place], f"probability{rank}": float(best.values[rank - 1])}
        row |= {"device": self._computed.device, "precision": self._computed.precision}
        self._table.write(row, None if scores is None else scores.tolist())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._table.close()


def check_predictions_file(file: str | Path) -> None:
    """Make sure that predictions can be written to a file of this name.

    Raises:
        ValueError: for another ending, or a parquet file without the package that writes it.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in _FORMATS:
        raise ValueError(f"{file}: name a file that ends in {', '.join(_FORMATS)}")
    if suffix == ".parquet":
        _import_pyarrow(file)


def write_predictions(
    file: str | Path, rows: Sequence[VideoSample], class_names: Sequence[str], scores: Scores
) -> None:
    """Write a row for each listed video, in the order of the list.

    Args:
        file: see `PredictionWriter`.
        rows: the videos listed; `scores.indices` counts through them.
        class_names: the candidates, which labels count through.
        scores: of the videos that could be read.
    """
    places = {row: place for place, row in enumerate(scores.indices.tolist())}
    with PredictionWriter(file, class_names, computed=scores.computed) as writer:
        for number in sorted({*places, *scores.skipped}):
            row = rows[number]
            if number in places:
                place = places[number]
                labels = [label for label in scores.labels[place].view(-1).tolist() if label != NO_LABEL]
                writer.write(row.path, scores.probabilities[place], labels)
            else:
                writer.write(row.path, labels=row.labels, error=scores.skipped[number])


class _Lines:
    """A text file of a line a row, of which every line is whole."""

    def __init__(self, file: Path, columns: Sequence[str]) -> None:
        self._path, self._columns = file, columns
        self._file = file.open("wb", buffering=0)

    def append(self, line: str) -> None:
        start, data = self._file.tell(), memoryview(line.encode(errors="backslashreplace"))
        try:
            with with_filename(self._path):
                while data:
                    data = data[self._file.write(data) :]
        except BaseException:  # Ctrl-C between two parts of a line, too
            self._file.truncate(start)
            raise

    def close(self) -> None:
        with with_filename(self._path):
            self._file.close()


class _JSONLines(_Lines):
    def __init__(self, file: Path, columns: Sequence[str], class_names: Sequence[str]) -> None:
        del class_names
        super().__init__(file, columns)

    def write(self, row: Row, probabilities: list[float] | None) -> None:
        del probabilities
        self.append(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


class _CSV(_JSONLines):
    def __init__(self, file: Path, columns: Sequence[str], class_names: Sequence[str]) -> None:
        super().__init__(file, columns, class_names)
        self._append_cells(columns)

    def write(self, row: Row, probabilities: list[float] | None) -> None:
        del probabilities
        self._append_cells([_csv_cell(row[name]) for name in self._columns])

    def _append_cells(self, cells: Sequence[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        self.append(line.getvalue())


def _csv_cell(value: str | bool | float | None) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:.6f}"
    return defuse(value or "")


class _Parquet:
    """Rows go to a temporary file, which takes its place at the end; a file that was there before goes at once."""

    def __init__(self, file: Path, columns: Sequence[str], class_names: Sequence[str]) -> None:
        arrow, parquet = _import_pyarrow(file)
        kinds = {"correct": arrow.bool_(), "probability": arrow.float32()}
        fields = [(name, kinds.get(name.rstrip("0123456789"), arrow.string())) for name in columns]
        self._schema = arrow.schema([*fields, ("probabilities", arrow.list_(arrow.float32()))])
        self._schema = self._schema.with_metadata({"class_names": json.dumps(list(class_names))})
        self._arrow, self._rows = arrow, list[dict[str, Any]]()
        file.unlink(missing_ok=True)
        self._placing = ExitStack()
        self._writer: Any = parquet.ParquetWriter(self._placing.enter_context(atomic_write(file)), self._schema)

    def write(self, row: Row, probabilities: list[float] | None) -> None:
        self._rows.append({**row, "probabilities": probabilities})
        if len(self._rows) == _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        with self._placing:
            self._flush()
            self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(self._arrow.Table.from_pylist(self._rows, self._schema))
        self._rows = []


_FORMATS: dict[str, Callable[[Path, Sequence[str], Sequence[str]], _Table]] = {
    ".csv": _CSV,
    ".jsonl": _JSONLines,
    ".parquet": _Parquet,
}


def _import_pyarrow(file: str | Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(
            f"{file}: parquet needs the package pyarrow; pip install 'vitaclip[parquet]', or name a .csv file"
        ) from error
    return pyarrow, pyarrow.parquet
