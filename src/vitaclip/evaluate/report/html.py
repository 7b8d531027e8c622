"""Writing a report: `index.html`, which holds everything it shows, `result.json`, and `predictions.csv`."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image
from torch import Tensor

from vitaclip.data import EvalViews, FrameSampling, ReadOptions, VideoError, VideoSample
from vitaclip.data.config import VideoLimits
from vitaclip.evaluate.evaluation import Evaluated
from vitaclip.evaluate.metrics import wilson_interval
from vitaclip.evaluate.predictions import write_predictions
from vitaclip.evaluate.report import plots
from vitaclip.evaluate.report.explanation_section import Explain, ExplanationSection
from vitaclip.evaluate.report.summary import ConfusedPair, EvalSummary, summarize_evaluation
from vitaclip.files import check_own, write_json, write_text
from vitaclip.version import __version__

PAGE_FILE, RESULT_FILE, PREDICTIONS_FILE = "index.html", "result.json", "predictions.csv"
MAX_RANKED = 8
_SHOWN_FRAMES = FrameSampling("segments", 8)
_FRAME_SIZE = 112


@dataclass(frozen=True)
class EvalSubject:
    """What was evaluated, as the report names it."""

    title: str
    about: Mapping[str, str]
    """Facts shown beside the figures and written with them, such as the model and the views."""
    rows: Sequence[VideoSample]
    """The videos listed; the scores' `indices` count through them."""
    class_names: Sequence[str]
    sha256: Mapping[str, str]
    """Hashes of lists, names and templates."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further entries of `result.json`, such as templates and views; ready for JSON."""


@dataclass(frozen=True)
class FilmStrip:
    """A misnamed video with its frames."""

    path: str
    probability: float
    """Of the wrong name."""
    true_probability: float
    frames: tuple[str, ...] = ()
    """Images as data URIs, in order of time."""
    explanation: ExplanationSection | None = None
    overlays: tuple[str, ...] = ()
    """The frames of `explanation`, as data URIs."""
    error: str = ""
    """Why images are missing: parts of the video that were not scored may be damaged."""


def check_report_folder(folder: str | Path) -> None:
    """Make sure that a report overwrites no file but those of another report; see `check_own`."""
    check_own(Path(folder) / PAGE_FILE, "vitaclip")
    check_own(Path(folder) / RESULT_FILE, '"class_names"')
    check_own(Path(folder) / PREDICTIONS_FILE, "probability1")


def write_report(
    folder: str | Path,
    subject: EvalSubject,
    evaluated: Evaluated,
    *,
    explain: Explain | None = None,
    limits: VideoLimits | None = None,
) -> Path:
    """Write the report of an evaluation into a folder, and return the path of its page.

    Args:
        folder: made if it does not exist.
        subject: what was evaluated.
        evaluated: the scores and their metrics.
        explain: explains why the misnamed videos that are shown got their names.
        limits: those that the videos were read with.
    """
    folder = Path(folder)
    summary = summarize_evaluation(evaluated, subject.class_names)
    said = {"title": subject.title, "about": dict(subject.about), "sha256": dict(subject.sha256)}
    said |= {"class_names": list(subject.class_names), "version": __version__}
    write_json(folder / RESULT_FILE, said | dict(subject.settings) | summary.to_dict())
    write_predictions(folder / PREDICTIONS_FILE, subject.rows, subject.class_names, evaluated.scores)
    strips = [_film_strips(pair, subject, evaluated, explain, limits or VideoLimits()) for pair in summary.pairs]
    write_text(folder / PAGE_FILE, render_page(subject, summary, strips))
    return folder / PAGE_FILE


def render_page(subject: EvalSubject, summary: EvalSummary, strips: Sequence[Sequence[FilmStrip]]) -> str:
    """The page as one HTML file without a script; it loads nothing from anywhere."""
    result = summary.result
    ranked = sorted(summary.classes, key=lambda each: (-each.accuracy, each.name))
    best = min(MAX_RANKED, (len(ranked) + 1) // 2)
    worst = ranked[best:][-MAX_RANKED:][::-1]
    environment = Environment(
        loader=PackageLoader("vitaclip.evaluate.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "counted": _counted}
    return environment.get_template("page.html.j2").render(
        subject=subject,
        summary=summary,
        result=result,
        interval=wilson_interval(result.top1, result.num_videos),
        best=plots.class_accuracy_chart(ranked[:best]) if ranked else "",
        worst=plots.class_accuracy_chart(worst) if worst else "",
        confusion=plots.confusion_chart(result, subject.class_names) if ranked else "",
        views=plots.views_chart(result) if len(result.view_top1) > 1 else "",
        pairs=list(zip(summary.pairs, strips, strict=True)),
        explained=[strip.explanation for of_pair in strips for strip in of_pair if strip.explanation],
        version=__version__,
    )


def image_to_data_uri(image: Tensor) -> str:
    """An image, uint8 (3, H, W), as the data URI of a JPEG.

    Raises:
        ValueError: if it has another shape or type.
    """
    if str(image.dtype) != "torch.uint8" or image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image: {image.dtype} {tuple(image.shape)} is no image: pass uint8 of shape (3, H, W)")
    buffer = BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy()).save(buffer, "JPEG", quality=78, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _film_strips(
    pair: ConfusedPair, subject: EvalSubject, evaluated: Evaluated, explain: Explain | None, limits: VideoLimits
) -> list[FilmStrip]:
    """The example videos of a pair, with 8 frames spread over each."""
    scores, names = evaluated.scores, list(subject.class_names)
    position = {row: n for n, row in enumerate(scores.indices.tolist())}
    strips = []
    for row in pair.examples:
        path, probabilities = subject.rows[row].path, scores.probabilities[position[row]]
        strip = FilmStrip(
            path="/".join(path.parts[-2:]),
            probability=float(probabilities[names.index(pair.predicted)]),
            true_probability=float(probabilities[names.index(pair.truth)]),
        )
        try:
            frames = EvalViews(_SHOWN_FRAMES, 1, 1, _FRAME_SIZE, options=ReadOptions(limits=limits)).read(path)[0]
            strip = replace(strip, frames=tuple(map(image_to_data_uri, frames)))
            if explain:
                section = explain(path, pair.predicted)
                overlays = tuple(map(image_to_data_uri, section.overlays))
                strip = replace(strip, explanation=section, overlays=overlays)
        except VideoError as error:
            strip = replace(strip, error=str(error))
        strips.append(strip)
    return strips


def _percent(fraction: float) -> str:
    """0.583 -> "58.3 %", with a no-break space; a dash for a value that is not a number."""
    return f"{100 * fraction:.1f}\u00a0%" if math.isfinite(fraction) else "\u2013"


def _counted(count: int, one: str, more: str = "") -> str:
    """1 -> "1 video", 1200 -> "1,200 videos"."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
