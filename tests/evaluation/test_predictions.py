"""Predictions of each video, read back by other libraries."""

import csv
import json
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
import torch

from vitaclip.data.lists.video_list import VideoSample
from vitaclip.evaluation.metrics import Scores
from vitaclip.evaluation.predictions import write_predictions
from vitaclip.runtime import Computed

NAMES = ("kick, ball", 'say "hi"', "run", "jump", "sit", "ärgern")
ROWS = [VideoSample(Path(f"videos/v {n}.mp4"), (n % 3,), f"list.csv:{n}") for n in range(9)]


def some_scores(names: int = 6) -> Scores:
    """Of all videos but the second."""
    kept = torch.tensor([n for n in range(9) if n != 1])
    probabilities = torch.rand(8, names, generator=torch.Generator().manual_seed(4)).softmax(dim=1)
    return Scores(probabilities, kept % names, kept, {1: "list.csv:1: gone"}, computed=Computed("cpu", "float32"))


@pytest.mark.parametrize("names", [6, 3])
def test_parquet_comes_back_with_types_and_all_probabilities(names: int, tmp_path: Path) -> None:
    scores = some_scores(names)
    write_predictions(tmp_path / "p.parquet", ROWS, NAMES[:names], scores)
    table = pyarrow.parquet.read_table(tmp_path / "p.parquet")
    types = {field.name: str(field.type) for field in table.schema}
    ranks = range(1, min(names, 5) + 1)
    assert types == {
        **{"path": "string", "class": "string", "correct": "bool"},
        **{name: kind for n in ranks for name, kind in ((f"name{n}", "string"), (f"probability{n}", "float"))},
        **{"error": "string", "device": "string", "precision": "string"},
        "probabilities": "list<element: float>",
    }
    assert json.loads(table.schema.metadata[b"class_names"]) == list(NAMES[:names])
    (failed,) = [line for line in table.to_pylist() if line["error"]]
    assert (failed["path"], failed["error"], failed["name1"]) == (str(ROWS[1].path), "list.csv:1: gone", None)
    lines = [line for line in table.to_pylist() if not line["error"]]
    assert [line["path"] for line in lines] == [str(ROWS[n].path) for n in scores.indices.tolist()]
    for line, probabilities, label in zip(lines, scores.probabilities.tolist(), scores.labels.tolist(), strict=True):
        assert line["probabilities"] == probabilities
        ranked = sorted(zip(probabilities, NAMES, strict=False), reverse=True)
        assert [(line[f"probability{n}"], line[f"name{n}"]) for n in ranks] == ranked[:5]
        assert (line["class"], line["correct"]) == (NAMES[label], ranked[0][1] == NAMES[label])


def test_csv_says_the_same(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", ROWS, NAMES, some_scores())
    write_predictions(tmp_path / "p.parquet", ROWS, NAMES, some_scores())
    expected = pyarrow.parquet.read_table(tmp_path / "p.parquet").drop_columns("probabilities").to_pylist()
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    for line, typed in zip(found, expected, strict=True):
        assert list(line) == list(typed)
        assert line["correct"] == ("" if typed["error"] else str(int(typed["correct"])))
        for name, value in typed.items():
            if isinstance(value, float):
                assert float(line[name]) == pytest.approx(value, abs=1e-6)
            elif isinstance(value, str):
                assert line[name] == value


def test_wrong_suffix_and_missing_package_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"p.json: name a file that ends in .csv, .jsonl, .parquet"):
        write_predictions(tmp_path / "p.json", ROWS, NAMES, some_scores())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"pip install 'vitaclip\[parquet\]'"):
        write_predictions(tmp_path / "p.parquet", ROWS, NAMES, some_scores())
    assert list(tmp_path.iterdir()) == []
    write_predictions(tmp_path / "p.csv", ROWS, NAMES, some_scores())
