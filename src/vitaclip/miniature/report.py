"""The demo's page: one HTML file with everything in it, readable offline and without JavaScript."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vitaclip.evaluate.report.charts import Bar, BarGroup, bar_chart, format_percent, line_chart
from vitaclip.evaluate.report.page import heat_table, page_environment
from vitaclip.miniature.results import DemoResult, Example, SplitResult, Stage
from vitaclip.miniature.world import MOTIONS
from vitaclip.version import __version__

NAMES_SHOWN = 3


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
class Guess:
    """A name that a model gave, word by word."""

    words: list[tuple[str, bool]]
    """Each word with whether the true name has it too."""
    probability: float
    right: bool


def render_report(result: DemoResult) -> str:
    """The demo's findings as one self-contained HTML page (no script, nothing loaded from anywhere)."""
    environment = page_environment("vitaclip.miniature")
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
