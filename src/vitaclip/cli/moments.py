"""`vitaclip moments`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.progress import Progress

from vitaclip.cli.command import argument
from vitaclip.cli.options import DATA_SETTINGS, VideosCommand
from vitaclip.cli.screen import print_error, print_table, progress_bars, terminal
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.member import VideoPath
from vitaclip.evaluation.decision import DecisionConfig
from vitaclip.files import check_place, csv_text, write_text
from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.table import Moments
from vitaclip.predictor import Predictor
from vitaclip.settings import Probability
from vitaclip.strings import counted

COLUMNS = ("video", "start_s", "end_s", "label", "score", "error")


@dataclass(frozen=True, kw_only=True)
class FindMoments(VideosCommand, MomentsConfig):
    """Find what happens when in videos of any length: classes, or what a query describes. Each video is read once and
    in bounded memory. A stopped command goes on where it was if it writes to a file. Of a video that fails half-way the
    first part is kept and marked.

    examples:
      vitaclip moments film.mp4 --classes "opening a door, closing a door" --out moments.csv
      vitaclip moments film.mp4 --query "a red heart shrinks" --model miniature --lengths_s 1 2 4
      vitaclip moments cameras/ --model runs/doors --out moments.csv
    """

    shown: ClassVar[tuple[str, ...]] = (
        *("model", "backbone", "data.classes", "query", "template", "out"),
        *("lengths_s", "stride_s", "threshold", "reject", "runtime.device"),
    )
    kept: ClassVar[Mapping[str, Collection[str]]] = {
        "data": DATA_SETTINGS,
        "views": ("frames", "crop", "pixel_aspect", "normalization"),
    }
    query: tuple[str, ...] = argument((), action="append")
    """A text that is searched for, in place of classes; may be repeated. Each stands for itself."""
    out: str = ""
    """Write to this .csv file instead of a table."""
    calibration: str = ""
    """File that `vitaclip eval --save_calibration` wrote for the same candidates; a window that it finds strange scores
    nothing."""
    keep: Probability = 0.95
    """With a calibration, the fraction of windows of the candidates that `reject` keeps."""

    def run(self) -> int:
        """Search every video; 1 if some could not be read to their end."""
        command = self.with_model_first()
        paths = command.find_videos()
        if self.out:
            check_place(self.out, command.inputs)
        predictor = command.load_searcher()
        found, failures = list[Moments](), list[str]()
        with progress_bars(terminal(stderr=True)) as progress:
            for number, path in enumerate(paths):
                try:
                    found.append(self._search(predictor, path, self._scores_file(number), progress))
                    failures += [found[-1].error] * bool(found[-1].error)
                except VideoError as error:
                    failures.append(str(error))
        if self.out:
            write_text(self.out, csv_text([COLUMNS, *_rows(found)]))
            for number in range(len(paths)):
                Path(self._scores_file(number)).unlink(missing_ok=True)
        else:
            rows = [
                (video, f"{start:.2f}", f"{end:.2f}", label, f"{score:.1%}")
                for video, start, end, label, score, _ in _rows(found)
            ]
            print_table(terminal(), "", ("video", "from", "to", "what", "score"), rows)
        for line in failures:
            print_error(line)
        where = f"; they are in {self.out}" if self.out else ""
        terminal().print(f"{counted(sum(len(each.segments) for each in found), 'segment')}{where}")
        return 1 if failures else 0

    def load_searcher(self) -> Predictor:
        """The model, with the candidates unless there are queries."""
        decision = DecisionConfig(reject=self.reject, calibration=self.calibration, keep=self.keep)
        if not self.query:
            predictor = self.load_predictor()
        else:
            self.say_which(terminal())
            predictor = Predictor(self.load_model(), views=self.views, runtime=self.runtime, data=self.data)
        predictor.decision = decision
        return predictor

    def _scores_file(self, number: int) -> Path | str:
        """Where the scores of a video are while the command runs: beside the output, if there is one."""
        return self.out and Path(self.out).with_name(f".{Path(self.out).name}.{number}.scores")

    def _search(self, predictor: Predictor, path: VideoPath, scores: Path | str, progress: Progress) -> Moments:
        """Search one video under a bar with the time left."""
        bar = progress.add_task(Path(str(path)).name, total=None)
        return predictor.moments(
            path,
            self.as_config(MomentsConfig),
            queries=self.query,
            templates=self.templates,
            scores_file=scores,
            on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )


def _rows(found: Sequence[Moments]) -> list[tuple[str, float, float, str, float, str]]:
    """A row for each segment; its last cell says why a video is not searched to its end."""
    return [
        (str(each.path), round(it.start_s, 3), round(it.end_s, 3), it.label, round(it.score, 4), each.error)
        for each in found
        for it in each.segments
    ]
