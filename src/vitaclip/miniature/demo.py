"""The whole method in a few minutes, on a machine without a GPU: write videos, test, train, test again, show.

Axes: n videos, K classes.
"""

import csv
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from markupsafe import Markup

from vitaclip.data.lists.sources import read_videos
from vitaclip.data.lists.video_list import VideoList
from vitaclip.data.reading.tar import to_video_path
from vitaclip.evaluation.evaluation import Evaluator
from vitaclip.evaluation.metrics import Scores, top_k_accuracy
from vitaclip.evaluation.protocol_run import PartResult, StartProgress, list_part
from vitaclip.figures import ACCENT, drawing, to_svg
from vitaclip.files import write_json, write_text
from vitaclip.miniature.videos import NOVEL_FILE, TRAINED_FILE, Split, split_classes, write_videos
from vitaclip.miniature.world import MOTIONS, appearance_of
from vitaclip.model import VideoModel
from vitaclip.recipes import load_recipe
from vitaclip.report.html import PREDICTIONS_FILE, film_strip, render_template, write_report
from vitaclip.settings import Config, NonNegativeInt, PositiveInt, Rule
from vitaclip.training.config import TrainConfig
from vitaclip.training.loggers import METRICS_FILE, Logger, read_metrics
from vitaclip.training.trainer import Trainer

PAGE_FILE, RESULT_FILE = "index.html", "result.json"
COMPARED = 4
"""Videos that the page shows, with their names before and after."""
Row = dict[str, Any]
"""What a model came to on the list `classes`, `trained` or `novel`: `motion_accuracies`, and the page of its report,
relative to the demo's folder."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Config):
    """What the demo does."""

    out: Annotated[str, Rule(bool, "name a folder")] = "demo"
    """Folder for the videos, the run and the page."""
    seed: NonNegativeInt = 0
    """Another seed draws other videos and starts from other prompts."""
    steps: PositiveInt = 150
    """Training steps."""
    train_clips: PositiveInt = 4
    """Training videos of each trained class (216 classes)."""
    test_clips: PositiveInt = 1
    """Test videos of each trained class; never-trained classes (72) get three times as many."""


def run_demo(config: DemoConfig, start: StartProgress, logger: Callable[[int], Logger] | None = None) -> list[Row]:
    """Run it all; leaves the videos, the run, reports, `result.json` and the page `index.html` in `config.out`.

    `start` shows the progress of each part. `logger`, called with the number of steps, gives what takes the metrics.
    """
    out, started, run = Path(config.out), time.perf_counter(), training_config(config)
    tests = write_world(config, start)
    frozen = VideoModel.from_backbone(run.model.backbone, num_frames=run.model.num_frames)
    results = _test("Frozen CLIP", frozen, tests, run, out, start)
    trainer = Trainer(run)
    if logger:
        trainer.loggers.append(logger(config.steps))
    trained = trainer.fit()
    results += _test(f"After {config.steps:,} steps", trained, tests, run, out, start)
    results += _test("Shipped prompts", VideoModel.from_pretrained("miniature"), tests, run, out, start)
    facts = {
        "Made by": f"vitaclip demo --seed {config.seed} --steps {config.steps}",
        "Parameters trained": f"{sum(p.numel() for p in trained.trainable_parameters().values()):,}",
        "Parameters frozen": f"{sum(p.numel() for p in trained.backbone.parameters()):,}",
        "Training videos": f"{config.train_clips * len(split_classes('train')):,}",
        "Machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        "Time": f"{time.perf_counter() - started:,.0f} s",
    }
    write_json(out / RESULT_FILE, {"config": asdict(config), "results": results, "facts": facts})
    steps = [each for each in read_metrics(Path(run.out) / METRICS_FILE, config.steps) if "train/loss" in each]
    values = {"optim": run.optim, "results": results, "facts": facts, "motions": len(MOTIONS)}
    values["curves"] = [Markup(_draw_learning_curve(steps, metric)) for metric in ("train/loss", "train/top1")]
    values["compared"] = _compare(out, run)
    write_text(out / PAGE_FILE, render_template("demo.html.j2", "vitaclip.miniature", **values))
    return results


def training_config(config: DemoConfig) -> TrainConfig:
    """The `miniature` recipe on the demo's videos."""
    world = Path(config.out) / "videos"
    return load_recipe(
        "miniature",
        out=str(Path(config.out) / "run"),
        seed=config.seed,
        data={"train": str(world / "train.csv"), "classes": str(world / TRAINED_FILE), "workers": 1},
        optim={"steps": config.steps},
        log_every=5,
    )


def write_world(config: DemoConfig, start: StartProgress) -> list[tuple[str, VideoList]]:
    """Write the videos of a demo, or find them written; returns the test lists, `trained` and `novel`, checked."""
    world = Path(config.out) / "videos"
    clips: dict[Split, int] = {"train": config.train_clips, "test_trained": config.test_clips}
    for split, count in (clips | {"test_novel": 3 * config.test_clips}).items():
        done = start(f"videos: {split}", count * len(split_classes(split)))
        write_videos(world, split, count, config.seed, on_done=done)
    return [world_list(world, which, names) for which, names in (("trained", TRAINED_FILE), ("novel", NOVEL_FILE))]


def world_list(world: Path, which: str, names: str) -> tuple[str, VideoList]:
    """The test list `test_WHICH.csv` of a world, whose candidates are in the file `names`, under its name."""
    return which, read_videos(str(world / f"test_{which}.csv"), which, classes=str(world / names))


def _test(
    label: str,
    model: VideoModel,
    tests: Sequence[tuple[str, VideoList]],
    run: TrainConfig,
    out: Path,
    start: StartProgress,
) -> list[Row]:
    """Test a model on trained and never-trained classes, each against its own list of names, and write the reports."""
    rows, evaluator = [], Evaluator(model, run.runtime, run.data)
    for which, videos in tests:
        names, count = videos.class_names, len(videos.samples)
        texts, done = evaluator.encode_texts(names), start(f"{label}: {which}", count)
        evaluated = evaluator.score(evaluator.encode(videos.samples, run.views, [texts], done), texts)
        folder = f"{label.split()[0].lower()}_{which}"
        part = PartResult(list_part(which, videos), label, texts, "", evaluated)
        about = {
            "model": label,
            **model.in_words,
            "videos": "synthetic: drawn shapes that move over textures",
            "text": texts.note,
        }
        page = write_report(out / folder, f"{label}: {which} classes", about, part, run.data)
        row: Row = {"model": label, "classes": which, "report": f"{folder}/{page.name}"}
        row |= {"num_videos": count, "num_classes": len(names)}
        rows.append(row | motion_accuracies(evaluated.scores, names))
    return rows


def motion_accuracies(scores: Scores, class_names: Sequence[str]) -> dict[str, float]:
    """Accuracies of scores over names of the miniature world, which have all motions of each appearance.

    Returns:
        top1: of the whole name.
        appearance: the fraction of videos whose predicted colour and shape are correct, whatever the motion.
        motion: the fraction of videos whose motion is correct when only the eight classes with the true colour and
            shape compete. Chance is 1 in 8.
    """
    looks = [appearance_of(name) for name in class_names]
    same_look = torch.tensor([[a == b for b in looks] for a in looks])
    probabilities, labels = scores.probabilities, scores.labels
    given_look = probabilities.masked_fill(~same_look[labels], -1).argmax(dim=1)
    return {
        "top1": top_k_accuracy(probabilities, labels, 1),
        "appearance": float(same_look[labels, probabilities.argmax(dim=1)].double().mean()),
        "motion": float((given_look == labels).double().mean()),
    }


def _compare(out: Path, run: TrainConfig) -> list[dict[str, object]]:
    """Videos at equal distances in the list of never-trained classes: frames, truth, and the names before and after."""
    before, after = (
        list(csv.DictReader((out / f"{model}_novel" / PREDICTIONS_FILE).open(encoding="utf-8", newline="")))
        for model in ("frozen", "after")
    )
    return [
        {"frames": film_strip(to_video_path(old["path"]), run.data), "before": old, "after": new}
        for old, new in list(zip(before, after, strict=True))[:: len(before) // COMPARED]
    ]


def _draw_learning_curve(steps: Sequence[Mapping[str, float]], metric: str) -> str:
    numbers, values, half = [each["step"] for each in steps], [each[metric] for each in steps], len(steps) // 24
    means = [np.mean(values[max(i - half, 0) : i + half + 1]) for i in range(len(values))]
    with drawing(4.6, 2.6) as figure:
        axes = figure.subplots()
        axes.plot(numbers, values, color=ACCENT, alpha=0.35, linewidth=1)
        axes.plot(numbers, means, color=ACCENT, linewidth=2)
        axes.set(xlabel="step", ylim=(0, None))
        axes.grid(axis="y")
        return to_svg(figure, f"{metric} over the training steps.")
