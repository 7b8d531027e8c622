"""What was said of each video, as a table: `.csv`, or `.parquet` with the probabilities of all classes."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitaclip.data import VideoRow
from vitaclip.evaluate.metrics import Scores
from vitaclip.files import replacing

TOP_NAMES = 5
SUFFIXES = (".csv", ".parquet")


def check_predictions_file(file: str | Path) -> None:
    """Make sure that predictions can be written to a file of this name.

    Raises:
        ValueError: for another ending, or a parquet file without the package that writes it.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{file}: name a file that ends in {' or '.join(SUFFIXES)}")
    if suffix == ".parquet":
        _import_pyarrow(file)


def write_predictions(file: str | Path, rows: Sequence[VideoRow], class_names: Sequence[str], scores: Scores) -> None:
    """A row for each video: path, class, whether the first name is right, and the best five with probabilities.

    A parquet file has `probabilities` too, a list of all classes' in the order of `class_names`, which its metadata
    hold under that name as JSON.

    Args:
        file: ends in .csv or .parquet.
        rows: the videos listed; `scores.rows` counts through them.
        class_names: the candidates.
        scores: of the videos that could be read.

    Raises:
        ValueError: see `check_predictions_file`.
    """
    check_predictions_file(file)
    columns = _columns(rows, class_names, scores)
    if Path(file).suffix.lower() == ".parquet":
        _write_parquet(file, columns, class_names, scores)
    else:
        _write_csv(file, columns)


def _columns(rows: Sequence[VideoRow], class_names: Sequence[str], scores: Scores) -> dict[str, list[Any]]:
    best = scores.probabilities.topk(min(TOP_NAMES, len(class_names)), dim=1)
    columns: dict[str, list[Any]] = {
        "path": [str(rows[row].path) for row in scores.rows.tolist()],
        "class": [class_names[label] for label in scores.labels.tolist()],
        "right": (best.indices[:, 0] == scores.labels).tolist(),
    }
    ranked = zip(best.indices.T.tolist(), best.values.T.tolist(), strict=True)
    for rank, (places, probabilities) in enumerate(ranked, start=1):
        columns[f"name{rank}"] = [class_names[place] for place in places]
        columns[f"probability{rank}"] = probabilities
    return columns


def _write_csv(file: str | Path, columns: dict[str, list[Any]]) -> None:
    with replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows(map(_csv_cell, line) for line in zip(*columns.values(), strict=True))


def _csv_cell(value: str | bool | float) -> str | int:
    if isinstance(value, bool):
        return int(value)
    return f"{value:.6f}" if isinstance(value, float) else value


def _write_parquet(file: str | Path, columns: dict[str, list[Any]], class_names: Sequence[str], scores: Scores) -> None:
    arrow, parquet = _import_pyarrow(file)
    types = {str: arrow.string(), bool: arrow.bool_(), float: arrow.float32()}
    arrays = {name: arrow.array(values, types[type(values[0])]) for name, values in columns.items()}
    arrays["probabilities"] = arrow.array(scores.probabilities.tolist(), arrow.list_(arrow.float32()))
    table = arrow.table(arrays).replace_schema_metadata({"class_names": json.dumps(list(class_names))})
    with replacing(file) as temporary:
        parquet.write_table(table, temporary)


def _import_pyarrow(file: str | Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError(
            f"{file}: parquet needs the package pyarrow; pip install 'vitaclip[parquet]', or name a .csv file"
        ) from error
    return pyarrow, pyarrow.parquet
