"""Writing a report: `index.html`, which holds everything it shows, `result.json`, and `predictions.csv`.

Axes: T frames of a clip, H x W pixels.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from PIL import Image
from torch import Tensor

from vitaclip.data.config import DataConfig
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.clips import EvalViews, LoadedVideo, read_options
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.workers import run_in_processes
from vitaclip.evaluate.evaluation import Evaluated
from vitaclip.evaluate.metrics import wilson_interval
from vitaclip.evaluate.predictions import write_predictions
from vitaclip.explain import Explanation, explain_video
from vitaclip.explain.attention import label_and_color
from vitaclip.explain.picture import overlay_heat
from vitaclip.files import check_own, write_json, write_text
from vitaclip.predictor import Predictor
from vitaclip.report import plots
from vitaclip.report.summary import ConfusedPair, EvalSummary, summarize_evaluation
from vitaclip.version import __version__

PAGE_FILE, RESULT_FILE, PREDICTIONS_FILE = "index.html", "result.json", "predictions.csv"
MAX_RANKED = 8
_NUM_FRAMES, _FRAME_SIZE, _NEIGHBOURS = 8, 112, 3


@dataclass(frozen=True)
class EvalSubject:
    """What was evaluated, as the report names it."""

    title: str
    about: Mapping[str, str]
    """Facts shown beside the figures and written with them, such as the model and the views."""
    samples: Sequence[VideoSample]
    """The videos listed; the scores' `indices` count through them."""
    class_names: Sequence[str]
    sha256: Mapping[str, str]
    """Hashes of lists, names and templates."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further entries of `result.json`, such as templates and views; ready for JSON."""


@dataclass
class FilmStrip:
    """A misnamed video with its frames."""

    path: VideoPath
    name: str
    """The wrong name."""
    probability: float
    """Of the wrong name."""
    true_probability: float
    frames: Sequence[str] = ()
    """Images as data URIs, in order of time."""
    error: str = ""
    """Why images are missing: parts of the video that were not scored may be damaged."""
    explanation: Explanation | None = None
    shown: Sequence[int] = ()
    """Positions in the explained clip of the frames that are shown of it."""
    overlays: Sequence[str] = ()
    """These frames under their attention, as data URIs."""
    kinds: Sequence[tuple[str, str, Sequence[float]]] = ()
    """Label and colour of each kind of token, and the fraction of each frame's attention that goes to it."""


def check_report_folder(folder: str | Path) -> None:
    """Make sure that a report overwrites no file but those of another report; see `check_own`."""
    check_own(Path(folder) / PAGE_FILE, "vitaclip")
    check_own(Path(folder) / RESULT_FILE, '"class_names"')
    check_own(Path(folder) / PREDICTIONS_FILE, "probability1")


def write_report(
    folder: str | Path,
    subject: EvalSubject,
    evaluated: Evaluated,
    predictor: Predictor | None = None,
    data: DataConfig | None = None,
) -> Path:
    """Write the report of an evaluation into a folder, and return the path of its page.

    >>> write_report("report", subject, evaluator.run(samples, names, views))  # doctest: +SKIP

    Args:
        folder: made if it does not exist.
        subject: what was evaluated.
        evaluated: the scores and their metrics.
        predictor: explains why the misnamed videos that are shown got their names, if it is given.
        data: worker processes, limits and the time limit with which the videos that are shown are read.
    """
    folder = Path(folder)
    summary = summarize_evaluation(evaluated, subject.class_names)
    said = {"title": subject.title, "about": dict(subject.about), "sha256": dict(subject.sha256)}
    said |= {"class_names": list(subject.class_names), "version": __version__}
    write_json(folder / RESULT_FILE, said | dict(subject.settings) | asdict(summary))
    write_predictions(folder / PREDICTIONS_FILE, subject.samples, subject.class_names, evaluated.scores)
    strips = _film_strips(summary.pairs, subject, evaluated, predictor, data or DataConfig())
    write_text(folder / PAGE_FILE, _render_page(subject, summary, strips))
    return folder / PAGE_FILE


def _render_page(subject: EvalSubject, summary: EvalSummary, strips: Sequence[Sequence[FilmStrip]]) -> str:
    result = summary.result
    ranked = sorted(summary.classes, key=lambda each: (-each.accuracy, each.name))
    best = min(MAX_RANKED, (len(ranked) + 1) // 2)
    worst = ranked[best:][-MAX_RANKED:][::-1]
    return render_template(
        "page.html.j2",
        subject=subject,
        summary=summary,
        result=result,
        interval=wilson_interval(result.top1, result.num_videos),
        best=plots.class_accuracy_chart(ranked[:best]) if ranked else "",
        worst=plots.class_accuracy_chart(worst) if worst else "",
        confusion=plots.confusion_chart(result, subject.class_names) if ranked else "",
        pairs=list(zip(summary.pairs, strips, strict=True)),
        kinds=next((strip.kinds for of_pair in strips for strip in of_pair if strip.kinds), ()),
    )


def render_template(name: str, package: str = "vitaclip.report", **values: object) -> str:
    """A Jinja template of a package as one HTML file without a script, which loads nothing from anywhere."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(each, "") for each in (package, "vitaclip.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "counted": _counted}
    return environment.get_template(name).render(version=__version__, **values)


def image_to_data_uri(image: Tensor) -> str:
    """An image, uint8 (3, H, W), as the data URI of a JPEG."""
    buffer = BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy()).save(buffer, "JPEG", quality=78, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _film_strips(
    pairs: Sequence[ConfusedPair],
    subject: EvalSubject,
    evaluated: Evaluated,
    predictor: Predictor | None,
    data: DataConfig,
) -> list[list[FilmStrip]]:
    """The example videos of each pair, read by processes that are killed when a video takes too long."""
    scores, names = evaluated.scores, list(subject.class_names)
    position = {row: n for n, row in enumerate(scores.indices.tolist())}
    strips: dict[int, FilmStrip] = {}
    for pair in pairs:
        columns = [names.index(pair.predicted), names.index(pair.truth)]
        for row in pair.examples:
            probabilities = scores.probabilities[position[row], columns].tolist()
            strips[row] = FilmStrip(subject.samples[row].path, pair.predicted, *probabilities)
    reader = EvalViews(FrameSampling("segments", _NUM_FRAMES), 1, 1, _FRAME_SIZE, options=read_options(data))
    by_path: dict[VideoPath, list[FilmStrip]] = {}
    for strip in strips.values():
        by_path.setdefault(strip.path, []).append(strip)
    read = partial(_read, reader, predictor.reader if predictor else None)
    for outcome in run_in_processes(read, by_path, data.workers, data.time_limit_seconds or math.inf):
        for strip in by_path[outcome.item]:
            strip.error = outcome.problem
            if outcome.result:
                _fill(strip, predictor, *outcome.result)
    return [[strips[row] for row in pair.examples] for pair in pairs]


def _read(reader: EvalViews, clips: EvalViews | None, path: VideoPath) -> tuple[Tensor, LoadedVideo | None]:
    """Frames spread over a video, and the clips that the model looks at."""
    return reader.read(path)[0], clips.load(path) if clips else None


def _fill(strip: FilmStrip, predictor: Predictor | None, frames: Tensor, loaded: LoadedVideo | None) -> None:
    strip.frames = [image_to_data_uri(frame) for frame in frames]
    if predictor and loaded:
        try:
            _explain(strip, predictor, loaded)
        except ValueError as error:  # such as a backbone whose attention cannot be shown
            strip.error = str(error)


def _explain(strip: FilmStrip, predictor: Predictor, loaded: LoadedVideo) -> None:
    """Add to a strip why its video was given the wrong name."""
    found = explain_video(predictor, strip.path, name=strip.name, top_k=_NEIGHBOURS, loaded=loaded, curve=False)
    shown = torch.linspace(0, len(found.frames) - 1, min(len(found.frames), _NUM_FRAMES)).round().long()
    heated = overlay_heat(found.frames[shown], found.attention.heat[shown], _FRAME_SIZE)
    strip.explanation, strip.shown = found, shown.tolist()
    strip.overlays = [image_to_data_uri(image) for image in heated]
    strip.kinds = [(*label_and_color(kind), mass[shown].tolist()) for kind, mass in found.attention.mass.items()]


def _percent(fraction: float) -> str:
    """0.583 -> "58.3 %", with a no-break space; a dash for a value that is not a number."""
    return f"{100 * fraction:.1f}\u00a0%" if math.isfinite(fraction) else "\u2013"


def _counted(count: int, noun: str) -> str:
    """1 -> "1 video", 1200 -> "1,200 videos"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
