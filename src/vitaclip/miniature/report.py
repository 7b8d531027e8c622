"""The demo's page: one HTML file with everything in it, readable offline and without JavaScript."""

import math

import numpy as np
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vitaclip.figures import ACCENT, drawing, to_svg
from vitaclip.miniature.results import DemoResult
from vitaclip.miniature.world import MOTIONS
from vitaclip.version import __version__


def render_report(result: DemoResult) -> str:
    """The demo's results as one self-contained HTML page, which runs no script and loads nothing from anywhere."""
    stages = {"Frozen CLIP": result.before, f"After {result.steps:,} steps": result.after}
    if result.shipped is not None:
        stages["Shipped prompts"] = result.shipped
    facts = {
        "Made by": f"vitaclip demo --seed {result.seed} --steps {result.steps}",
        "Parameters trained": f"{result.trainable_parameters:,}",
        "Parameters frozen": f"{result.frozen_parameters:,}",
        "Training videos": f"{result.train_videos:,}",
        "Machine": result.machine,
        **{what.capitalize(): f"{seconds:,.1f} s" for what, seconds in result.seconds.items()},
    }
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader(package, "") for package in ("vitaclip.miniature", "vitaclip.evaluate.report")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}\u00a0%" if math.isfinite(value) else "\u2013"
    return environment.get_template("report.html.j2").render(
        result=result,
        stages=stages,
        facts=facts,
        motions=len(MOTIONS),
        curve_chart=Markup(_curve_chart(result)),
        motion_chart=Markup(_motion_chart(result)),
        version=__version__,
    )


def _curve_chart(result: DemoResult) -> str:
    steps = [point.step for point in result.curve]
    losses, accuracies = [point.loss for point in result.curve], [point.top1 for point in result.curve]
    half = len(steps) // 24
    with drawing(9, 2.8) as figure:
        left, right = figure.subplots(1, 2)
        for axes, title, values in ((left, "loss", losses), (right, "top-1 of the clips of a step", accuracies)):
            means = [np.mean(values[max(i - half, 0) : i + half + 1]) for i in range(len(steps))]
            axes.plot(steps, values, color=ACCENT, alpha=0.35, linewidth=1)
            axes.plot(steps, means, color=ACCENT, linewidth=2)
            axes.set(title=title, xlabel="step", ylim=(0, None))
            axes.grid(axis="y")
        return to_svg(figure, f"Loss and top-1 over {result.steps} training steps.")


def _motion_chart(result: DemoResult) -> str:
    """Four matrices of true by predicted motion: before and after training, trained and never-trained classes."""
    names = [motion.split()[-1] for motion in MOTIONS]
    panels = [
        (f"{label}, {which}", np.array(split.motion_confusion))
        for label, stage in (("frozen CLIP", result.before), ("after training", result.after))
        for which, split in (("trained", stage.trained), ("never trained", stage.novel))
    ]
    with drawing(9, 9) as figure:
        for axes, (title, counts) in zip(figure.subplots(2, 2).flat, panels, strict=True):
            fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
            for (true, predicted), value in np.ndenumerate(fractions):
                color = "white" if value > 0.5 else "black"
                axes.text(predicted, true, f"{100 * value:.0f}", ha="center", va="center", size=8, color=color)
            axes.set(title=title, xlabel="predicted", ylabel="true")
            axes.set_xticks(range(len(names)), names, rotation=90)
            axes.set_yticks(range(len(names)), names)
        return to_svg(figure, "True motion by predicted motion, in per cent of the true motion.")
