"""What both ways of evaluating read and say alike."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vitaclip.cli.screen import terminal
from vitaclip.config import RuntimeConfig, VideoLimits, ViewsConfig

if TYPE_CHECKING:
    from vitaclip.evaluate.report.writing import Attend
    from vitaclip.model import VitaCLIP


def describe_views(views: ViewsConfig) -> str:
    """The settings in words; those that are as the model was trained are not named."""
    parts = [
        f"{views.temporal} temporal x {views.spatial} spatial",
        f"mean of {views.average}",
        f"{views.pixels} pixels",
    ]
    parts += [f"{name} {value}" for name in ("frames", "sampling", "stride") if (value := getattr(views, name))]
    return ", ".join(parts + ([f"crop {views.crop:g}"] if views.crop < 1 else []))


def attention_of(model: "VitaCLIP", views: ViewsConfig, runtime: RuntimeConfig, limits: VideoLimits) -> "Attend":
    """What draws the model's attention over the videos that a report shows."""
    from vitaclip.explain.strip import attended_frames
    from vitaclip.predictor import Predictor

    return partial(attended_frames, Predictor(model, views=views, runtime=runtime, limits=limits))


def say_where(page: Path) -> None:
    """Print where a report's page is."""
    terminal().print(f"the page: {page.resolve()}", soft_wrap=True)
