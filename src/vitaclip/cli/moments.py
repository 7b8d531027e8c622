"""`vitaclip moments`."""

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.progress import Progress

from vitaclip.cli.command import argument
from vitaclip.cli.options import DATA_SETTINGS, VideosCommand, distinct_stems
from vitaclip.cli.screen import print_error, print_table, progress_bars, terminal
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.live import is_live
from vitaclip.data.reading.path import VideoPath, is_address
from vitaclip.evaluation.decision import DecisionConfig
from vitaclip.files import check_own, check_place
from vitaclip.moments.clips import check_clips, cut_clips
from vitaclip.moments.config import MomentsConfig
from vitaclip.moments.formats import check_format, write_moments
from vitaclip.moments.live import post_event
from vitaclip.moments.table import Moments
from vitaclip.moments.truth import Truth, read_truth
from vitaclip.predictor import Predictor
from vitaclip.report.html import PAGE_FILE
from vitaclip.report.timeline import write_timeline
from vitaclip.settings import FLAG, Probability
from vitaclip.strings import counted


@dataclass(frozen=True, kw_only=True)
class FindMoments(VideosCommand, MomentsConfig):
    """Find what happens when in videos of any length: classes, or what a query describes. Each video is read once and
    in bounded memory. A stopped command goes on where it was if it writes to a file. Of a video that fails half-way the
    first part is kept and marked.

    examples:
      vitaclip moments film.mp4 --classes "opening a door, closing a door" --out moments.csv
      vitaclip moments film.mp4 --query "a red heart shrinks" --model miniature --lengths_s 1 2 4
      vitaclip moments cameras/ --model runs/doors --out moments.csv
      vitaclip moments film.mp4 --model runs/doors --out film.srt
      vitaclip moments rtsp://camera.local/1 --query "a person falls" --lengths_s 4 8 --webhook https://host/alarm
      vitaclip moments val_videos/ --model runs/anet --classes activitynet200 --truth activity_net.v1-3.json
    """

    shown: ClassVar[tuple[str, ...]] = (
        *("model", "backbone", "data.classes", "query", "template", "out", "format", "report", "clips", "truth"),
        *("live", "webhook", "lengths_s", "stride_s", "threshold", "reject", "runtime.device"),
    )
    kept: ClassVar[Mapping[str, Collection[str]]] = {
        "data": DATA_SETTINGS,
        "views": ("frames", "crop", "pixel_aspect", "normalization"),
    }
    query: tuple[str, ...] = argument((), action="append")
    """A text that is searched for, in place of classes; may be repeated. Each stands for itself."""
    out: str = ""
    """Write to this new file instead of a table. Its ending says the format: .csv, .jsonl, .json (ActivityNet), .vtt,
    .srt, .edl, .otio."""
    format: str = ""
    """Another format: qvhighlights, vtt_chapters, srt_chapters, label_studio, fiftyone."""
    report: str = ""
    """Folder for a page with film strip, curves, and segments that play when clicked (index.html); of several videos a
    folder each."""
    clips: str = ""
    """Cut the segments out of the videos, into this folder: quickly, without encoding, from the key frame before."""
    exact: bool = field(default=False, metadata=FLAG)
    """Encode clips anew, so that they start and end on their frames; slow, and without sound."""
    truth: str = ""
    """Annotations to measure the segments against: ActivityNet's .json, QVHighlights' .jsonl, whose queries are then
    those of each video, or a folder of THUMOS' .txt files, one a class."""
    calibration: str = ""
    """File that `vitaclip eval --save_calibration` wrote for the same candidates; a window that it finds strange scores
    nothing."""
    keep: Probability = 0.95
    """With a calibration, the fraction of windows of the candidates that `reject` keeps."""

    live: bool = field(default=False, metadata=FLAG)
    """Follow a file that still grows, until nothing has come for ten seconds; a stream or camera is followed without
    this, until Ctrl-C. A line of JSON on standard output tells of each segment that opens or closes."""
    webhook: str = ""
    """Address (http or https) that each of these lines is posted to as well."""

    def run(self) -> int:
        """Search every video; 1 if some could not be read to their end."""
        command = self.with_model_first()
        if self.live or self.webhook or any(map(is_live, command.videos)):
            return command.follow()
        truth = read_truth(self.truth) if self.truth else None
        paths = [*dict.fromkeys(truth.annotated(command.find_videos()) if truth else command.find_videos())]
        stems = distinct_stems(paths)
        if self.out:
            check_format(self.out, self.format, paths)
            check_place(self.out, (*command.inputs, self.truth), new=True)
        pages = {path: Path(self.report) / (stem if len(paths) > 1 else "") for path, stem in stems.items()}
        for folder in pages.values() if self.report else ():
            check_place(folder / PAGE_FILE)
            check_own(folder / PAGE_FILE, "vitaclip")
        if self.clips:
            check_clips(self.clips, stems.values())
        predictor = command.load_searcher(truth)
        found = self._search_all(predictor, paths, truth)
        self._write_table(found)
        failures = [each.error for each in found if each.error]
        for note in (each.note for each in found if each.note):
            print_error(note, kind="note")
        for each in (readable := [each for each in found if each.duration_s]):
            if self.report:
                terminal().print(f"the page: {write_timeline(pages[each.path], each, self.data).resolve()}")
            try:
                if self.clips:
                    cut_clips(each, self.clips, self.exact, self.data.limits, stems[each.path])
            except VideoError as error:
                failures.append(str(error))
        for line in failures:
            print_error(line)
        where = f"; they are in {self.out}" if self.out else ""
        terminal().print(f"{counted(sum(len(each.segments) for each in found), 'segment')}{where}")
        if truth and readable:
            figures = [(name, f"{value:.2%}") for name, value in truth.evaluate(readable).items()]
            title = f"{len(readable)} of {len(truth.videos)} annotated videos"
            print_table(terminal(), title, ("figure", "value"), figures)
        return 1 if failures else 0

    def follow(self) -> int:
        """Tell of segments as they open and close, in lines of JSON; what else is said goes to standard error."""
        only = [name for name in ("out", "report", "clips", "truth") if getattr(self, name)]
        if only or len(self.videos) > 1:
            what = f"--{only[0]} needs a whole video" if only else "one video at a time can be followed"
            raise ValueError(f"{what}; streams and --live write lines of JSON to standard output")
        if self.webhook and not is_address(self.webhook):
            raise ValueError(
                f"--webhook: {self.webhook!r} is no address; give one that begins with http:// or https://"
            )
        note = partial(print_error, kind="note")
        with redirect_stdout(sys.stderr):
            predictor = self.load_searcher(None)
        config, texts = self.as_config(MomentsConfig), {"queries": self.query, "templates": self.templates}
        with ThreadPoolExecutor(1) as posting:
            try:
                for event, segment in predictor.live(self.videos[0], config, **texts, on_note=note):
                    now = datetime.now(UTC).isoformat(timespec="seconds")
                    content = {"video": self.videos[0], "event": event, **asdict(segment), "time": now}
                    print(json.dumps(content), flush=True)
                    if self.webhook:
                        posting.submit(post_event, self.webhook, content, note)
            except BaseException:
                posting.shutdown(cancel_futures=True)
                raise
        return 0

    def _search_all(self, predictor: Predictor, paths: Sequence[VideoPath], truth: Truth | None) -> list[Moments]:
        """What is found in each video."""
        found = list[Moments]()
        with progress_bars(terminal(stderr=True)) as progress:
            for number, path in enumerate(paths):
                try:
                    queries = self.query or (truth.queries(path) if truth else ())
                    found.append(self._search(predictor, path, queries, self._scores_file(number), progress))
                except VideoError as error:
                    found.append(Moments(path, error=str(error)))
        return found

    def _write_table(self, found: Sequence[Moments]) -> None:
        """Write the table, after which kept scores are not needed any more, or print it."""
        if self.out:
            write_moments(self.out, found, self.format)
            for number in range(len(found)):
                Path(self._scores_file(number)).unlink(missing_ok=True)
        else:
            rows = [
                (str(each.path), f"{it.start_s:.2f}", f"{it.end_s:.2f}", it.label, f"{it.score:.1%}")
                for each in found
                for it in each.segments
            ]
            print_table(terminal(), "", ("video", "from", "to", "what", "score"), rows)

    def load_searcher(self, truth: Truth | None) -> Predictor:
        """The model, with the candidates unless there are queries."""
        decision = DecisionConfig(reject=self.reject, calibration=self.calibration, keep=self.keep)
        if not self.query and (truth is None or truth.ious):
            predictor = self.load_predictor()
        else:
            self.say_which(terminal())
            predictor = self.make_predictor()
        predictor.decision = decision
        return predictor

    def _scores_file(self, number: int) -> Path | str:
        """Where the scores of a video are while the command runs: beside the output, if there is one."""
        return self.out and Path(self.out).with_name(f".{Path(self.out).name}.{number}.scores")

    def _search(
        self, predictor: Predictor, path: VideoPath, queries: Sequence[str], scores: Path | str, progress: Progress
    ) -> Moments:
        """Search one video under a bar with the time left."""
        bar = progress.add_task(Path(str(path)).name, total=None)
        return predictor.moments(
            path,
            self.as_config(MomentsConfig),
            queries=queries,
            templates=self.templates,
            scores_file=scores,
            on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
