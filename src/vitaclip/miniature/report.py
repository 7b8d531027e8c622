"""The demo's page: one HTML file with everything in it, readable offline and without JavaScript."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vitaclip import __version__
from vitaclip.miniature.charts import Bar, BarGroup, bar_chart, format_percent, line_chart
from vitaclip.miniature.results import DemoResult, Example, SplitResult, Stage
from vitaclip.miniature.world import MOTIONS

NAMES_SHOWN = 3
HEAT_LEVELS = 11
_LARGEST_PICTURE_SIDE = 96
# Flat shapes on a soft texture lose nothing visible to 64 colours, and the page a third of its size.
_PICTURE_COLOURS = 64


@dataclass(frozen=True)
class NamedStage:
    """A model's accuracies with what the page calls it."""

    label: str
    style: str
    """CSS class of its bars."""
    stage: Stage

    def split(self, trained: bool) -> SplitResult:
        return self.stage.trained if trained else self.stage.novel


@dataclass(frozen=True)
class HeatCell:
    """A cell of a confusion table."""

    text: str
    level: int
    """0 (no video of the row) to `HEAT_LEVELS` - 1 (all of them)."""
    right: bool
    """Whether the chosen motion is the true one."""


@dataclass(frozen=True)
class Guess:
    """A name that a model gave, word by word."""

    words: list[tuple[str, bool]]
    """Each word with whether the true name has it too."""
    probability: float
    right: bool


def render_report(result: DemoResult) -> str:
    """The demo's findings as one self-contained HTML page (no script, nothing loaded from anywhere)."""
    environment = Environment(
        loader=PackageLoader("vitaclip.miniature", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = format_percent
    environment.filters["css_percent"] = _css_percent
    stages = _named_stages(result)
    return environment.get_template("report.html.j2").render(
        result=result,
        version=__version__,
        stages=stages,
        steps=_step_count(result),
        motions=[_short_motion(motion) for motion in MOTIONS],
        motion_chance=1 / len(MOTIONS),
        margins=(_margin(result.after.trained.num_videos), _margin(result.after.novel.num_videos)),
        trained_bars=_accuracy_bars(stages, trained=True),
        novel_bars=_accuracy_bars(stages, trained=False),
        loss_chart=_curve(result, "loss"),
        accuracy_chart=_curve(result, "top1"),
        heat_table=heat_table,
        guesses=guesses,
        is_right=is_right,
    )


def frame_to_png_uri(frame: Tensor | NDArray[np.uint8]) -> str:
    """A frame as a data URI: a PNG of at most 64 colours and at most 96 pixels a side.

    Args:
        frame: (3, H, W), uint8.

    Raises:
        ValueError: another shape or type.
    """
    pixels = frame.detach().cpu().numpy() if isinstance(frame, Tensor) else frame
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ValueError(f"frame: {pixels.dtype} {tuple(pixels.shape)} is no picture: pass uint8 of shape (3, H, W)")
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((_LARGEST_PICTURE_SIDE, _LARGEST_PICTURE_SIDE))
    buffer = io.BytesIO()
    image.quantize(_PICTURE_COLOURS, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def heat_table(counts: Sequence[Sequence[int]]) -> list[list[HeatCell]]:
    """Counts (true, chosen) of motions -> cells in per cent of their row; dashes for a row without videos."""
    rows = []
    for true, row in enumerate(counts):
        total = sum(row)
        shares = [count / total if total else 0.0 for count in row]
        rows.append(
            [
                HeatCell(
                    text=f"{100 * share:.0f}" if total else "\u2013",
                    level=round(share * (HEAT_LEVELS - 1)),
                    right=true == chosen,
                )
                for chosen, share in enumerate(shares)
            ]
        )
    return rows


def guesses(example: Example, names: Sequence[tuple[str, float]]) -> list[Guess]:
    """The first names, best first, compared with the truth word by word."""
    true_words = set(example.truth.split())
    return [
        Guess([(word, word in true_words) for word in name.split()], probability, name == example.truth)
        for name, probability in names[:NAMES_SHOWN]
    ]


def is_right(example: Example, names: Sequence[tuple[str, float]]) -> bool:
    """Whether the best name is the true one."""
    return bool(names) and names[0][0] == example.truth


def _named_stages(result: DemoResult) -> list[NamedStage]:
    after = f"After {_step_count(result)}"
    stages = [NamedStage("Frozen CLIP", "before", result.before), NamedStage(after, "after", result.after)]
    if result.shipped is not None:
        stages.append(NamedStage("Shipped prompts", "shipped", result.shipped))
    return stages


def _step_count(result: DemoResult) -> str:
    return "1 step" if result.steps == 1 else f"{result.steps:,} steps"


def _accuracy_bars(stages: Sequence[NamedStage], trained: bool) -> Markup:
    splits = [(named, named.split(trained)) for named in stages]
    classes = max(splits[0][1].num_classes, 1)
    quantities = [
        ("Whole name right (top-1)", [split.top1 for _, split in splits], 1 / classes),
        (
            "Right name among the best five (top-5)",
            [split.top5 for _, split in splits],
            min(5 / classes, 1.0),
        ),
        (
            "Appearance right: colour and shape",
            [split.appearance for _, split in splits],
            len(MOTIONS) / classes,
        ),
        ("Motion right, appearance given", [split.motion for _, split in splits], 1 / len(MOTIONS)),
    ]
    groups = [
        BarGroup(
            title,
            [Bar(named.label, share, named.style) for (named, _), share in zip(splits, shares, strict=True)],
            min(chance, 1.0),
        )
        for title, shares, chance in quantities
    ]
    spoken = "; ".join(
        f"{group.title}: " + ", ".join(f"{bar.label} {format_percent(bar.share)}" for bar in group.bars)
        for group in groups
    )
    kind = "Classes that were trained on" if trained else "Combinations never trained on"
    return Markup(bar_chart(groups, f"{kind}. {spoken}."))


def _curve(result: DemoResult, field: str) -> Markup:
    points = [(float(point.step), float(getattr(point, field))) for point in result.curve]
    percent = field == "top1"
    name = "Share of the clips of a step that were named right" if percent else "Loss of a step"
    return Markup(line_chart(points, f"{name}, over {result.steps} steps.", "step", percent=percent))


def _short_motion(motion: str) -> str:
    """ "moving left" -> "left"; the motions' last words are all different."""
    return motion.split()[-1]


def _margin(num_videos: int) -> str:
    """Half width of the 95 % interval of a share near one half, from that many independent videos."""
    return f"±{100 * 1.96 * math.sqrt(0.25 / num_videos):.1f} points" if num_videos else "unknown"


def _css_percent(share: float) -> str:
    """A share as a length for a style attribute, kept in 0 to 100 %."""
    return f"{100 * min(max(share, 0.0), 1.0):.1f}%" if math.isfinite(share) else "0%"
