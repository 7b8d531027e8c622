"""What both ways of evaluating read and say alike."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from jsonargparse import Namespace

from vitaclip.cli.models import check_outputs
from vitaclip.cli.screen import terminal
from vitaclip.config import InterpolateConfig, RuntimeConfig, VideoLimits, ViewsConfig
from vitaclip.evaluate.class_texts import ClassTexts
from vitaclip.evaluate.report import Explain, check_report_folder
from vitaclip.explain.film_strip import explanation_section
from vitaclip.model import VideoModel
from vitaclip.predictor import Predictor


def describe_views(views: ViewsConfig) -> str:
    """The settings in words; those that are as the model was trained are not named."""
    parts = [
        f"{views.temporal} temporal x {views.spatial} spatial",
        f"mean of {views.average}",
        f"{views.pixels} pixels",
    ]
    parts += [f"{name} {value}" for name in ("frames", "sampling", "stride") if (value := getattr(views, name))]
    parts += [f"crop {views.crop:g}"] if views.crop < 1 else []
    return ", ".join(parts + ([f"pixels as {views.pixel_aspect}"] if views.pixel_aspect else []))


def check_places(arguments: Namespace, inputs: Sequence[str] = ()) -> None:
    """Make sure that what is asked for can be written, before videos are evaluated; see `check_outputs`."""
    report = str(Path(arguments.report) / "index.html") if arguments.report else ""
    check_outputs(arguments, arguments.out, arguments.predictions, report, inputs=inputs)
    if arguments.report:
        check_report_folder(arguments.report)


def short_sums(sums: Mapping[str, str]) -> str:
    """The beginnings of sha256 sums, each behind the name of what it is of."""
    return ", ".join(f"{name} {value[:12]}" for name, value in sums.items())


def explainer_of(
    model: VideoModel,
    texts: ClassTexts,
    views: ViewsConfig,
    runtime: RuntimeConfig,
    limits: VideoLimits,
) -> Explain:
    """What tells why the videos that a report shows got their names, of the model and the texts that were evaluated."""
    predictor = Predictor(model, views=views, runtime=runtime, limits=limits)
    predictor.set_texts(texts)
    return partial(explanation_section, predictor)


def describe_explained(interpolation: InterpolateConfig) -> dict[str, str]:
    """The fact that goes with a report whose explanations are of a part of the model only; mostly none."""
    said = "of the trained model alone: attention and occlusion do not see the interpolated scores"
    return {"explanations": said} if interpolation.space == "scores" else {}


def say_where(page: Path) -> None:
    """Print where a report's page is."""
    terminal().print(f"the page: {page.resolve()}", soft_wrap=True)
