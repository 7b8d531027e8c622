"""`vitaclip predict`."""

from collections.abc import Sequence
from contextlib import ExitStack

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.models import add_data_arguments, add_model_arguments, check_outputs, load_predictor, take_videos
from vitaclip.cli.screen import print_error, print_table, terminal, track
from vitaclip.data.workers import expect_processes
from vitaclip.evaluate.predictions import PredictionWriter, check_predictions_file
from vitaclip.predictor import Prediction

DESCRIPTION = """\
Name what happens in videos. Candidates are the model's own classes, or any names you give: classes need not have been
trained on. Prints a table, or writes a row a video to a file as soon as it is known. A file that cannot be
read, or takes longer than --data.time_limit_seconds, is named and the others go on.

examples:
  vitaclip predict clip.mp4 --classes "red heart growing, red heart shrinking, red heart moving up"
  vitaclip predict my_videos/ --model runs/own_videos/model --out predictions.csv
  vitaclip predict my_videos/ --model runs/own_videos/model --classes kinetics400
  vitaclip predict clip.mp4 --backbone miniature --classes names.txt --template "a photo of {}." """
SHOWN_SETTINGS = (
    *("model", "backbone", "data.classes", "template", "views", "top_k", "out"),
    *("data.workers", "data.time_limit_seconds", "runtime.device"),
)


def add_arguments(parser: ArgumentParser) -> None:
    """Files, model, classes, and where the answer goes."""
    parser.add_argument(
        "videos", nargs="+", help="video files, or folders that are searched for them; a run may come first"
    )
    add_model_arguments(parser)
    add_data_arguments(parser, "workers", "eval_batch_size")
    parser.add_argument("--top_k", type=int, default=3, help="how many names for each video")
    parser.add_argument(
        "--out", type=str, default="", help="write to this .csv, .jsonl or .parquet file instead of a table"
    )


def run(arguments: Namespace) -> int:
    """Predict every file; 1 if some could not be read."""
    if arguments.top_k < 1:
        raise ValueError(f"--top_k {arguments.top_k}: must be at least 1")
    if arguments.out:
        check_predictions_file(arguments.out)
    paths = take_videos(arguments)
    check_outputs(arguments, arguments.out)
    expect_processes(arguments.data)  # they start while the model is loaded
    predictor = load_predictor(arguments)
    predictions, failures = [], []
    with ExitStack() as opened:
        writer = None
        if arguments.out:
            about = predictor.class_names, arguments.top_k, predictor.computed
            writer = opened.enter_context(PredictionWriter(arguments.out, *about))
        many = predictor.predict_many(paths, arguments.top_k)
        for prediction in track(many, "predicting", len(paths)):
            if writer:
                writer.write(prediction.path, prediction.scores, error=prediction.error)
            if prediction.error:
                failures.append(prediction.error)
            elif not writer:
                predictions.append(prediction)
    if predictions:
        _print(predictions)
    for failure in failures:
        print_error(failure)
    return 1 if failures else 0


def _print(predictions: Sequence[Prediction]) -> None:
    rows = []
    for prediction in predictions:
        best = [f"{name}  {p:6.1%}" for name, p in zip(prediction.names, prediction.probabilities, strict=True)]
        rows += [(str(prediction.path), best[0]), *(("", other) for other in best[1:])]
    print_table(terminal(), "", ("video", "classes"), rows)
