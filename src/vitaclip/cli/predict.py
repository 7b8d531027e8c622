"""`vitaclip predict`."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

from vitaclip.cli.options import VideosCommand, check_outputs
from vitaclip.cli.screen import print_error, print_table, terminal, track
from vitaclip.data.workers import expect_processes
from vitaclip.evaluate.predictions import PredictionWriter, check_predictions_file
from vitaclip.predictor import Prediction
from vitaclip.settings import PositiveInt


@dataclass(frozen=True, kw_only=True)
class Predict(VideosCommand):
    """Name what happens in videos. Candidates are the model's own classes, or any names you give: classes need not have
    been trained on. Prints a table, or writes a row a video to a file as soon as it is known. A file that cannot be
    read, or takes longer than --data.time_limit_seconds, is named and the others go on.

    examples:
      vitaclip predict clip.mp4 --classes "red heart growing, red heart shrinking, red heart moving up"
      vitaclip predict my_videos/ --model runs/own_videos/model --out predictions.csv
      vitaclip predict my_videos/ --model runs/own_videos/model --classes kinetics400
      vitaclip predict clip.mp4 --backbone miniature --classes names.txt --template "a photo of {}."
    """

    shown: ClassVar[tuple[str, ...]] = (
        *("model", "backbone", "data.classes", "template", "views", "top_k", "out"),
        *("data.workers", "data.time_limit_seconds", "runtime.device"),
    )
    top_k: PositiveInt = 3
    """How many names for each video."""
    out: str = ""
    """Write to this .csv, .jsonl or .parquet file instead of a table."""

    def run(self) -> int:
        """Predict every file; 1 if some could not be read."""
        if self.out:
            check_predictions_file(self.out)
        command = self.with_model_first()
        paths = command.find_videos()
        check_outputs(command, self.out)
        expect_processes(self.data)  # they start while the model is loaded
        predictor = command.load_predictor()
        predictions, failures = [], []
        with ExitStack() as opened:
            writer = None
            if self.out:
                about = predictor.class_names, self.top_k, predictor.computed
                writer = opened.enter_context(PredictionWriter(self.out, *about))
            many = predictor.predict_many(paths, self.top_k)
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
