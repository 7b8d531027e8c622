"""Writing a report: `index.html`, which holds everything it shows, `result.json`, and `predictions.csv`.

Axes: H x W pixels, K classes.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from vitaclip.data.config import DataConfig
from vitaclip.data.loading.clips import EvalViews, read_options
from vitaclip.data.reading.container import as_video_error
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.transforms import spatial_views
from vitaclip.data.workers import run_in_processes
from vitaclip.evaluation.metrics import EvaluationResult, calibration_error, wilson_interval
from vitaclip.evaluation.predictions import write_predictions
from vitaclip.evaluation.protocol_run import PartResult
from vitaclip.figures import INK, drawing, shorten, to_svg
from vitaclip.files import check_own, write_json, write_text
from vitaclip.strings import counted
from vitaclip.version import __version__

PAGE_FILE, RESULT_FILE, PREDICTIONS_FILE = "index.html", "result.json", "predictions.csv"
MIN_VIDEOS_FOR_CALIBRATION = 100
"""With fewer, the bins hold a handful of videos each, and the error is noise."""
MAX_CONFUSIONS, MAX_CLIPS = 5, 12
MAX_NAMED_CLASSES = 24
"""Classes up to which rows and columns of the confusion matrix have their names."""
_NUM_FRAMES, _FRAME_SIZE = 8, 112


@dataclass(frozen=True)
class ClassSummary:
    """How the videos of a class were named."""

    name: str
    score: float
    """The fraction of its videos that were named correctly; average precision where videos have several labels."""
    videos: int = 0
    """Not counted where videos have several labels."""
    correct: int = 0
    confused_with: tuple[tuple[str, int], ...] = ()
    """Other names given to its videos with counts, the most frequent first."""


@dataclass
class MisnamedClip:
    """A video that was given a wrong name, with frames of it."""

    path: VideoPath
    truth: str
    predicted: str
    probability: float
    """Of the wrong name."""
    true_probability: float
    frames: Sequence[str] = ()
    """Images as data URIs, in order of time, spread over the video."""
    error: str = ""
    """Why there are no images: parts of the video that were not scored may be damaged."""


def check_report_folder(folder: str | Path) -> None:
    """Make sure that a report overwrites no file but those of another report; see `check_own`."""
    check_own(Path(folder) / PAGE_FILE, "vitaclip")
    check_own(Path(folder) / RESULT_FILE, '"class_names"')
    check_own(Path(folder) / PREDICTIONS_FILE, "probability1")


def write_report(
    folder: str | Path, title: str, about: Mapping[str, str], part: PartResult, data: DataConfig | None = None
) -> Path:
    """Write the report of one accuracy into a folder, and return the path of its page.

    >>> write_report("report", "my videos", {"model": "runs/doors"}, result.parts[0])  # doctest: +SKIP

    Args:
        folder: made if it does not exist.
        title: heading of the page.
        about: facts shown beside the figures and written with them, such as the model and the views.
        part: what was evaluated, and what came of it.
        data: worker processes, limits and the time limit with which the videos that are shown are read.
    """
    folder, scores, date = Path(folder), part.evaluated.scores, f"{datetime.now():%Y-%m-%d}"
    write_predictions(folder / PREDICTIONS_FILE, [*part.part.samples.values()], part.texts.names, scores)
    enough = len(scores.labels) >= MIN_VIDEOS_FOR_CALIBRATION and scores.labels.dim() == 1
    error = calibration_error(scores.probabilities, scores.labels) if enough else None
    told = {"title": title, "date": date, "about": dict(about), "version": __version__, "calibration_error": error}
    write_json(folder / RESULT_FILE, told | part.to_dict())
    page = render_template(
        "page.html.j2",
        title=title,
        date=date,
        about=about,
        sha256=part.sha256,
        result=part.result,
        interval=wilson_interval(part.result.top1, part.result.num_videos),
        figures=_figures(part, error),
        classes=sorted(summarize_classes(part), key=lambda each: (each.score, each.name)),
        confusion=confusion_chart(part.result, part.texts.names) if part.result.confusion else "",
        clips=misnamed_clips(part, data or DataConfig()),
    )
    write_text(folder / PAGE_FILE, page)
    return folder / PAGE_FILE


def _figures(part: PartResult, calibration: float | None) -> list[tuple[str, float, str]]:
    """Name, fraction and meaning of what was measured beside top-1; a mean that says the same as top-1 is left out."""
    result = part.result
    several = result.mean_average_precision is not None
    per_class = None if several or abs(result.mean_class_accuracy - result.top1) < 5e-4 else result.mean_class_accuracy
    figures = (
        ("top-1", result.top1 if several else None, "one of its labels comes first"),
        ("top-5", result.top5 if result.num_classes > 5 else None, "a correct name is among the first five"),
        ("per class", per_class, "mean over the classes, each counting the same"),
        ("calibration error", calibration, "mean distance between confidence and accuracy"),
    )
    decided = part.evaluated.decision.figures() if part.evaluated.decision else []
    return [(name, fraction, note) for name, fraction, note in figures if fraction is not None] + decided


def summarize_classes(part: PartResult) -> list[ClassSummary]:
    """Count what the videos of each class were named, for classes with videos, in the order of the candidates."""
    names, scores = part.texts.names, part.result.class_accuracy
    if not part.result.confusion:
        return [ClassSummary(name, score) for name, score in scores.items()]
    summaries = []
    for true, row in enumerate(part.result.confusion):
        others = sorted((-count, names[other]) for other, count in enumerate(row) if count and other != true)
        confused = tuple((name, -count) for count, name in others[:MAX_CONFUSIONS])
        if sum(row):
            summaries.append(ClassSummary(names[true], scores[names[true]], sum(row), row[true], confused))
    return summaries


def confusion_chart(result: EvaluationResult, names: Sequence[str]) -> Markup:
    """The confusion matrix as an `svg` element, each row in fractions of its true class: the stronger the colour, the
    larger.

    The colour follows the square root of the fraction, so that one video of fifty can be seen.
    """
    from matplotlib.colors import LinearSegmentedColormap

    counts = np.array(result.confusion, dtype=np.float64)
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    named = len(names) <= MAX_NAMED_CLASSES
    side = 2.8 + 0.28 * len(names) if named else 6.0
    with drawing(side, side) as figure:
        axes = figure.subplots()
        clear_to_accent = LinearSegmentedColormap.from_list("", [(0.16, 0.42, 0.75, 0.04), (0.16, 0.42, 0.75, 1)])
        axes.imshow(np.sqrt(fractions), cmap=clear_to_accent, vmin=0, vmax=1, interpolation="none")
        axes.set(xlabel="predicted", ylabel="true class")
        axes.tick_params(length=0, labelcolor=INK)
        axes.spines[:].set_visible(not named)
        if named:
            labels = [shorten(name, 34) for name in names]
            axes.set_xticks(range(len(names)), labels, rotation=90)
            axes.set_yticks(range(len(names)), labels)
        spoken = f"{np.trace(counts):,.0f} of {counts.sum():,.0f} videos on the diagonal"
        return Markup(to_svg(figure, f"Confusion matrix of {len(names)} classes: {spoken}."))


def misnamed_clips(part: PartResult, data: DataConfig) -> list[MisnamedClip]:
    """The most confident mistakes, the surest first, read by processes that are killed when a video takes too long.
    Of videos with several labels none is shown."""
    scores, names, samples = part.evaluated.scores, part.texts.names, [*part.part.samples.values()]
    if scores.labels.dim() > 1:
        return []
    confidence, predicted = scores.probabilities.max(dim=1)
    sure = confidence.where(predicted != scores.labels, -1).argsort(descending=True, stable=True)
    clips = []
    for n in sure[: min(MAX_CLIPS, int((predicted != scores.labels).sum()))].tolist():
        true, wrong = int(scores.labels[n]), int(predicted[n])
        probabilities = float(confidence[n]), float(scores.probabilities[n, true])
        clips.append(MisnamedClip(samples[int(scores.indices[n])].path, names[true], names[wrong], *probabilities))
    by_path: dict[VideoPath, list[MisnamedClip]] = {}  # a list may name a video twice
    for clip in clips:
        by_path.setdefault(clip.path, []).append(clip)
    limit = data.time_limit_seconds or math.inf
    for outcome in run_in_processes(partial(film_strip, data=data), by_path, data.workers, limit):
        for clip in by_path[outcome.item]:
            clip.error, clip.frames = outcome.problem, outcome.result or ()
    return clips


def film_strip(
    path: VideoPath, data: DataConfig, frames: int = _NUM_FRAMES, span: tuple[float, float] = (0.0, math.inf)
) -> list[str]:
    """Frames spread over a video, or a span of its seconds, small, as data URIs in order of time."""
    views = EvalViews(FrameSampling("segments", frames), 1, 1, _FRAME_SIZE, options=read_options(data))
    with as_video_error(path), open_video(path, *views.options) as source:
        first, last = np.searchsorted(source.times, span)
        numbers = first + views.sampling.views(max(1, last - first), 1)[0]
        shown = source.frames(numbers, lambda frame: spatial_views(views.resize(frame), views.size, 1)[0])
    return [_to_data_uri(frame) for frame in shown]


def render_template(name: str, package: str = "vitaclip.report", **values: object) -> str:
    """A Jinja template of a package as one HTML file, which loads nothing from other machines."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(each, "") for each in (package, "vitaclip.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "counted": counted}
    return environment.get_template(name).render(version=__version__, **values)


def _to_data_uri(image: Tensor) -> str:
    """An image, uint8 (3, H, W), as the data URI of a JPEG."""
    buffer = BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy()).save(buffer, "JPEG", quality=78, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _percent(fraction: float) -> str:
    """0.583 -> "58.3 %", with a no-break space; a dash for a value that is not a number."""
    return f"{100 * fraction:.1f}\u00a0%" if math.isfinite(fraction) else "\u2013"
