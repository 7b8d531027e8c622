"""The whole method in a few minutes, on a machine without a GPU: write videos, test, train, test again, show.

Axes: V views, T frames, H x W pixels.
"""

import base64
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Annotated, Protocol

import torch
from PIL import Image
from torch import Tensor

from vitaclip.data import EvalViews, VideoList, VideoPath, frame_sampling, read_videos
from vitaclip.evaluate.evaluation import Evaluator
from vitaclip.files import write_json, write_text
from vitaclip.miniature.report import render_report
from vitaclip.miniature.results import CurvePoint, DemoResult, Example, Stage, split_result
from vitaclip.miniature.videos import NOVEL_FILE, TRAINED_FILE, Split, write_videos
from vitaclip.model import VideoModel
from vitaclip.predictor import Predictor
from vitaclip.recipes import load_recipe
from vitaclip.settings import Config, NonNegativeInt, PositiveInt, Rule
from vitaclip.train.config import TrainConfig
from vitaclip.train.loggers import METRICS_FILE, Logger
from vitaclip.train.trainer import Trainer


@dataclass(frozen=True, kw_only=True)
class DemoConfig(Config):
    """What the demo does."""

    out: Annotated[str, Rule(bool, "name a folder")] = "demo"
    """Folder for the videos, the run and the page."""
    seed: NonNegativeInt = 0
    """Another seed draws other videos and starts from other prompts."""
    steps: PositiveInt = 450
    """Training steps."""
    batch_size: PositiveInt = 24
    """Clips of one step."""
    train_clips: PositiveInt = 4
    """Training videos of each trained class (216 classes)."""
    test_clips: PositiveInt = 1
    """Test videos of each trained class; never-trained classes (72) get three times as many."""
    examples: PositiveInt = 8
    """Videos that the page shows as film strips."""


PAGE_FILE, RESULT_FILE = "index.html", "result.json"


class Reporter(Protocol):
    """Hears how the demo is going."""

    def start(self, what: str, total: int) -> Callable[[int], None]:
        """A part begins that has `total` units; returns what is to be called with the units just done."""

    def training_logger(self, steps: int) -> Logger:
        """A logger for the training part."""


@dataclass(frozen=True)
class Tests:
    """The two lists that every model is tested on."""

    trained: VideoList
    novel: VideoList


def run_demo(config: DemoConfig, reporter: Reporter) -> DemoResult:
    """Run it all; leaves the videos, the run, `result.json` and the page `index.html` in `config.out`."""
    out = Path(config.out)
    seconds: dict[str, float] = {}
    with _timed(seconds, "writing videos"):
        tests = write_world(config, reporter)
    train_config = training_config(config)
    frozen = VideoModel.from_backbone(train_config.model.backbone, num_frames=train_config.model.num_frames)
    with _timed(seconds, "testing frozen CLIP"):
        before = evaluate_stage(frozen, tests, train_config, reporter, "frozen CLIP")
    with _timed(seconds, "training"):
        trainer = Trainer(train_config)
        trainer.loggers.append(reporter.training_logger(config.steps))
        trained = trainer.fit()
    with _timed(seconds, "testing the trained prompts"):
        after = evaluate_stage(trained, tests, train_config, reporter, "after training")
    with _timed(seconds, "testing the shipped prompts"):
        model = VideoModel.from_pretrained("miniature")
        shipped = evaluate_stage(model, tests, train_config, reporter, "shipped prompts")
    with _timed(seconds, "film strips"):
        frozen_predictor, trained_predictor = (
            Predictor(model, views=train_config.views, runtime=train_config.runtime) for model in (frozen, trained)
        )
        examples = _examples(tests, frozen_predictor, trained_predictor, config.examples)
    trainable = sum(p.numel() for p in trained.trainable_parameters().values())
    result = DemoResult(
        seed=config.seed,
        steps=config.steps,
        batch_size=config.batch_size,
        train_videos=config.train_clips * len(tests.trained.class_names),
        trainable_parameters=trainable,
        frozen_parameters=sum(p.numel() for p in trained.backbone.parameters()),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
        seconds=seconds,
        before=before,
        after=after,
        shipped=shipped,
        curve=_learning_curve(Path(train_config.out) / METRICS_FILE),
        examples=examples,
    )
    write_json(out / RESULT_FILE, asdict(replace(result, examples=[])))
    write_text(out / PAGE_FILE, render_report(result))
    return result


def training_config(config: DemoConfig) -> TrainConfig:
    """The `miniature` recipe on the demo's videos."""
    recipe = load_recipe("miniature")
    world = Path(config.out) / "videos"
    return replace(
        recipe,
        out=str(Path(config.out) / "run"),
        seed=config.seed,
        data=replace(recipe.data, train=str(world / "train.csv"), classes=str(world / TRAINED_FILE), workers=1),
        optim=replace(recipe.optim, steps=config.steps, batch_size=config.batch_size),
        log_every=5,
    )


def evaluate_stage(model: VideoModel, tests: Tests, config: TrainConfig, reporter: Reporter, what: str) -> Stage:
    """Test a model on trained and never-trained classes, each against its own list of names."""
    results, evaluator = [], Evaluator(model, config.runtime, config.data)
    for videos, which in ((tests.trained, "trained"), (tests.novel, "never trained")):
        done = reporter.start(f"{what}: {which}", len(videos.samples))
        scores = evaluator.run(videos.samples, videos.class_names, config.views, done).scores
        results.append(split_result(scores, videos.class_names))
    return Stage(*results)


def write_world(config: DemoConfig, reporter: Reporter) -> Tests:
    """Write the videos of a demo, or find them written; returns the test lists, checked."""
    world = Path(config.out) / "videos"
    clips: dict[Split, int] = {
        "train": config.train_clips,
        "test_trained": config.test_clips,
        "test_novel": 3 * config.test_clips,
    }
    for split, count in clips.items():
        done = reporter.start(f"videos: {split}", count * (72 if split == "test_novel" else 216))
        written = 0

        def progress(now: int, total: int, done: Callable[[int], None] = done) -> None:
            nonlocal written
            del total
            done(now - written)
            written = now

        write_videos(world, split, count, config.seed, progress=progress)
    return Tests(
        read_videos(str(world / "test_trained.csv"), "test_trained", classes=str(world / TRAINED_FILE)),
        read_videos(str(world / "test_novel.csv"), "test_novel", classes=str(world / NOVEL_FILE)),
    )


def _examples(tests: Tests, frozen: Predictor, trained: Predictor, count: int) -> list[Example]:
    """Videos spread over both lists, with what each model says of them."""
    examples = []
    for videos, share in ((tests.trained, count // 2), (tests.novel, count - count // 2)):
        frozen.set_classes(videos.class_names)
        trained.set_classes(videos.class_names)
        for i in range(share):
            # One further at each stride, so that the motions differ.
            row = videos.samples[(i * (len(videos.samples) // share) + 3 * i) % len(videos.samples)]
            before, after = frozen.predict(row.path, 3), trained.predict(row.path, 3)
            examples.append(
                Example(
                    path="/".join(row.path.parts[-3:]),
                    truth=videos.class_names[row.label],
                    trained=videos is tests.trained,
                    frames=_film_strip(row.path, trained.model),
                    before=list(zip(before.names, before.probabilities, strict=True)),
                    after=list(zip(after.names, after.probabilities, strict=True)),
                )
            )
    return examples


def _film_strip(path: VideoPath, model: VideoModel) -> list[str]:
    """The frames that the model sees, as PNG data URIs."""
    sampling = frame_sampling(model.config.sampling, model.config.num_frames)
    return [_to_data_uri(frame) for frame in EvalViews(sampling, 1, 1, model.image_size).read(path)[0]]


def _to_data_uri(frame: Tensor) -> str:
    buffer = BytesIO()
    # Flat shapes on a soft texture lose nothing visible to 64 colours, and the page a third of its size.
    image = Image.fromarray(frame.permute(1, 2, 0).numpy()).quantize(64, dither=Image.Dither.NONE)
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _learning_curve(metrics: Path) -> list[CurvePoint]:
    """The logged training steps; read from the file, which is whole also when the run was stopped and resumed."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return [CurvePoint(line["step"], line["train/loss"], line["train/top1"]) for line in lines if "train/loss" in line]


@contextmanager
def _timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[what] = time.perf_counter() - started
