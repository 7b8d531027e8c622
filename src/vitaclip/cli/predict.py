"""`vitaclip predict`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from vitaclip.backbones.loading import fingerprint
from vitaclip.cli.options import VideosCommand
from vitaclip.cli.screen import print_error, print_table, terminal, track
from vitaclip.data.workers import expect_processes
from vitaclip.evaluation.decision import DecisionConfig
from vitaclip.evaluation.predictions import REMARKS, PredictionWriter, check_table_file
from vitaclip.files import check_place
from vitaclip.predictor import Prediction, Predictor
from vitaclip.runtime import keep_freed_memory
from vitaclip.settings import PositiveInt, to_dict
from vitaclip.strings import counted, first_lines

MOST_CLASSES_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class Predict(VideosCommand, DecisionConfig):
    """Name what happens in videos. Candidates are the model's own classes, or any names you give: classes need not have
    been trained on. Prints a table, or writes a row a video to a file as soon as it is known; the same command goes on
    behind the rows of a file, and one of other settings does not write over them. A video that cannot be read, or takes
    longer than --data.time_limit_seconds, is named and the others go on.

    examples:
      vitaclip predict my_videos/ --classes "opening a door, closing a door"
      vitaclip predict my_videos/ --model runs/doors --out predictions.csv
      vitaclip predict "clips/*.mp4" --model runs/doors --classes kinetics400
      vitaclip predict demo/videos/test_trained --model miniature
      vitaclip predict my_videos/ --classes "opening a door, closing a door" --reject
      vitaclip predict clip.mp4 --classes "a door"
      find . -name "*.mp4" | vitaclip predict - --model runs/doors
    """

    shown: ClassVar[tuple[str, ...]] = (
        *("model", "backbone", "data.classes", "template", "views", "top_k", "out"),
        *("reject", "calibration", "coverage", "multi_label"),
        *("data.workers", "runtime.device"),
    )
    top_k: PositiveInt = 3
    """How many names for each video."""
    out: str = ""
    """Write to this .csv, .jsonl or .parquet file instead of a table."""

    def run(self) -> int:
        """Predict every file; 1 if some could not be read."""
        keep_freed_memory()
        expect_processes(self.data)
        command = self.with_model_first()
        if self.out:
            check_table_file(self.out)
            check_place(self.out, (*command.inputs, self.calibration))
        paths = command.find_videos()
        predictor = command.load_predictor()
        predictor.decision = self.as_config(DecisionConfig)
        if predictor.decider.background:
            terminal().print(f"background: {predictor.decider.background.note}")
        labels, failures, predictions, notes = Counter[str](), list[str](), list[Prediction](), list[str]()
        opened = ExitStack()
        writer = opened.enter_context(self._writer(predictor)) if self.out else None
        waiting = [path for path in paths if not (writer and writer.was_there(path))]
        try:
            for prediction in track(predictor.predict_many(waiting, self.top_k), "predicting", len(waiting)):
                if writer:
                    remarks = {"label": prediction.label, **prediction.remarks}
                    writer.write(prediction.path, prediction.scores, error=prediction.error, remarks=remarks)
                else:
                    predictions.append(prediction)
                failures += [prediction.error] if prediction.error else []
                notes += [prediction.note] if prediction.note else []
                labels.update([] if prediction.error else [prediction.label])
            _print(predictions, labels)
        finally:
            opened.close()  # a parquet file is written here, before the line that says so
            _close(self.out, len(paths) - len(waiting), len(waiting), labels, failures, notes)
        return 1 if failures else 0

    def _writer(self, predictor: Predictor) -> PredictionWriter:
        """Goes on behind the rows of a command with the same weights, candidates and views."""
        weights, texts = fingerprint(predictor.model.state_dict()), predictor.texts
        settings: dict[str, Any] = {"weights": weights, "views": asdict(self.views), "top_k": self.top_k}
        settings |= {"candidates": list(texts.names), "text": texts.note, "texts": texts.sha256()}
        settings |= {"decision": to_dict(predictor.decision)}
        remarks = REMARKS * (predictor.decider.rejects or predictor.decider.calibration is not None) + ("note",)
        return PredictionWriter(self.out, texts.names, self.top_k, predictor.computed, settings, remarks)


def _close(
    out: str, before: int, asked: int, labels: Counter[str], failures: Sequence[str], notes: Sequence[str]
) -> None:
    """The closing lines: how many videos, where, and what failed; also of a command that was stopped."""
    for kind, lines in (("error", failures), ("warning", notes)):
        for line in first_lines(lines):
            print_error(line, kind)
    done = labels.total() + len(failures)
    there = f", after {before} that were there" if before else ""
    failed = f", {len(failures)} of them could not be read" if failures else ""
    failed += f", {len(notes)} of them with damaged frames" if notes else ""
    where = f"; the rows are in {out}" if out else ""
    stopped = f"; {asked - done} are left" + (", the same command goes on" if out else "") if done < asked else ""
    if not asked:
        terminal().print(f"nothing to do: {out} holds {counted(before, 'video')} already; remove it to begin anew")
        return
    terminal().print(f"{counted(done, 'video')}{there}{failed}{where}{stopped}")


def _print(predictions: Sequence[Prediction], labels: Counter[str]) -> None:
    rows = [row for each in predictions if not each.error for row in _rows(each)]
    print_table(terminal(), "", ("video", "classes"), rows)
    if len(predictions) > 1:
        counts = [(name, str(count)) for name, count in labels.most_common(MOST_CLASSES_SHOWN)]
        print_table(terminal(), "", ("class", "videos"), counts)


def _rows(prediction: Prediction) -> Iterator[tuple[str, str]]:
    for rank, (name, p) in enumerate(prediction.ranked):
        yield "" if rank else str(prediction.path), f"{name}  {p:6.1%}"
    if prediction.chosen is not None:
        yield "", f"set: {', '.join(prediction.chosen) or 'empty'}"
