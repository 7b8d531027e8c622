"""`vitaclip predict`."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.models import add_limits, add_model_arguments, load_predictor, take_model_first
from vitaclip.cli.screen import counting_bar, print_table, progress_bars, terminal

if TYPE_CHECKING:
    from vitaclip.predictor import Prediction

HELP = "what is in video files or folders"
DESCRIPTION = """\
Name what happens in videos. Candidates are the model's own classes, or any names you give: classes need not have been
trained on. Prints a table, or writes CSV or JSON. A file that cannot be read is named and the others go on.

examples:
  vitaclip predict clip.mp4 --classes "red heart growing, red heart shrinking, red heart moving up"
  vitaclip predict my_videos/ --model runs/own_videos/model --out predictions.csv
  vitaclip predict my_videos/ --model runs/own_videos/model --classes kinetics400
  vitaclip predict clip.mp4 --backbone miniature --classes names.txt --template "a photo of {}." """


def add_arguments(parser: ArgumentParser) -> None:
    """Files, model, classes, and where the answer goes."""
    parser.add_argument(
        "videos", nargs="+", help="video files, or folders that are searched for them; a run may come first"
    )
    add_model_arguments(parser)
    add_limits(parser)
    parser.add_argument("--top_k", type=int, default=3, help="how many names for each video")
    parser.add_argument("--out", type=str, default="", help="write to this .csv or .json file instead of a table")


def run(arguments: Namespace) -> int:
    """Predict every file; 1 if some could not be read."""
    if arguments.out and Path(arguments.out).suffix.lower() not in (".csv", ".json"):
        raise ValueError(f"--out {arguments.out}: name a file that ends in .csv or .json")
    if arguments.top_k < 1:
        raise ValueError(f"--top_k {arguments.top_k}: must be at least 1")
    from vitaclip.data import VideoError, find_videos

    take_model_first(arguments)
    paths = find_videos(arguments.videos)
    predictor = load_predictor(arguments)
    predictions, failures = [], []
    with progress_bars(terminal(stderr=True)) as progress:
        done = counting_bar(progress, "predicting", len(paths))
        for path in paths:
            try:
                predictions.append(predictor.predict(path, arguments.top_k))
            except VideoError as error:
                failures.append(str(error))
            done(1)
    if arguments.out and predictions:
        _write(Path(arguments.out), predictions)
    elif not arguments.out:
        _print(predictions)
    for failure in failures:
        print(f"vitaclip: error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _print(predictions: Sequence["Prediction"]) -> None:
    rows = []
    for prediction in predictions:
        best = [f"{name}  {p:6.1%}" for name, p in zip(prediction.names, prediction.probabilities, strict=True)]
        rows.append((str(prediction.path), "\n".join(best)))
    if rows:
        print_table(terminal(), "", ("video", "classes"), rows)


def _write(path: Path, predictions: Sequence["Prediction"]) -> None:
    """CSV: a row for each video and name. JSON: an object for each video."""
    from vitaclip.files import replacing, write_json

    if path.suffix.lower() == ".json":
        write_json(
            path,
            [
                {"path": str(p.path), "classes": list(p.names), "probabilities": list(p.probabilities)}
                for p in predictions
            ],
        )
        return
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "rank", "class", "probability"))
        for p in predictions:
            for rank, (name, probability) in enumerate(zip(p.names, p.probabilities, strict=True), start=1):
                writer.writerow((p.path, rank, name, f"{probability:.6f}"))
