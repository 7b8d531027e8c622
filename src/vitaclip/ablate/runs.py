"""One variant with one seed: an ordinary run folder, and beside its model what was found on the test lists."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from vitaclip.ablate.variants import Variant, row_name
from vitaclip.backbones.loading import load_backbone
from vitaclip.data import VideoList, read_videos
from vitaclip.data.config import DataConfig
from vitaclip.evaluate.evaluation import Evaluator
from vitaclip.evaluate.hashes import sha256_of_file, sha256_of_lines
from vitaclip.evaluate.metrics import Scores, summarize
from vitaclip.files import write_json
from vitaclip.interpolation import InterpolateConfig
from vitaclip.model import VideoModel
from vitaclip.runtime import pick_device
from vitaclip.saving.upgrade import upgrade_views
from vitaclip.settings import to_dict
from vitaclip.train.config import TrainConfig
from vitaclip.train.inputs import read_train_list
from vitaclip.train.loggers import Logger
from vitaclip.train.run_fingerprint import check_same_run, run_fingerprint
from vitaclip.train.trainer import Trainer
from vitaclip.untrusted import read_json, reading

RESULT_FILE = "result.json"
Figures = Callable[[Scores, Sequence[str]], Mapping[str, float]]
"""Computes named fractions in [0, 1] from scores and class names. It must be a module's function."""


def accuracies(scores: Scores, class_names: Sequence[str]) -> dict[str, float]:
    """Top-1, top-5, and the mean over the classes' accuracies."""
    result = summarize(scores, class_names)
    return {"top1": result.top1, "top5": result.top5, "per_class": result.mean_class_accuracy}


@dataclass(frozen=True)
class ScoredList:
    """Labelled videos with the candidates that they are scored against."""

    name: str
    videos: VideoList
    sha256: Mapping[str, str]
    """Of the list's bytes, if it is a file, and of the candidates' names, a line each."""


def read_scored_list(text: str, data: DataConfig) -> ScoredList:
    """Read `NAME=VIDEOS` or `NAME=VIDEOS:CLASSES`; without classes the candidates are those of `data`.

    Raises:
        ValueError: if it is written otherwise, or something is wrong with the list.
    """
    name, equals, source = text.partition("=")
    if not name or not equals or not source:
        raise ValueError(
            f"--tests {text!r}: write NAME=VIDEOS or NAME=VIDEOS:CLASSES, such as novel=test.csv:names.txt"
        )
    videos, _, classes = source.partition(":")
    classes, keep_absent = classes or data.classes, data.on_error == "skip"
    found = read_videos(videos, f"--tests {name}", root=data.root, classes=classes, keep_absent=keep_absent)
    sums = {"candidates": sha256_of_lines(found.class_names)}
    if Path(videos).is_file():
        sums["list"] = sha256_of_file(Path(videos))
    return ScoredList(name, found, sums)


@dataclass(frozen=True)
class Run:
    """A variant with a seed, and what it is to be tested on."""

    variant: Variant
    seed: int
    config: TrainConfig
    """With the variant's overrides, the seed, and a folder of its own as `out`."""
    tests: tuple[ScoredList, ...]
    figures: Figures


@dataclass(frozen=True)
class RunResult:
    """What a run came to."""

    trained: int
    """Number of parameters that train."""
    rows: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Row of the table, test list, figure: a fraction in [0, 1]."""
    videos: Mapping[str, int]
    """Number of videos of each test list that were scored."""
    skipped: Mapping[str, Sequence[str]]
    """Why the others of each test list were not scored. Old `result.json` files do not say it of every list."""


def plan_run(variant: Variant, seed: int, base: TrainConfig, tests: Sequence[ScoredList], figures: Figures) -> Run:
    """A run in `OUT/<variant>/seed<seed>`, where OUT is the base's folder."""
    out = str(Path(base.out) / variant.name / f"seed{seed}")
    return Run(variant, seed, replace(variant.config(base), out=out, seed=seed), tuple(tests), figures)


def find_result(run: Run) -> RunResult | None:
    """What an earlier call found, if it asked for the same.

    Raises:
        ValueError: if the folder holds a run with another config, class names or training videos.
    """
    file = Path(run.config.out) / RESULT_FILE
    if not file.exists():
        return None
    saved, asked = read_json(file, "delete it"), _asked(run)
    with reading(file, "delete it"):
        check_same_run(saved["asked"]["run"], asked["run"], run.config.out)
        before = saved["asked"] | {"views": upgrade_views(saved["asked"]["views"])}
        same_tests = all(before[key] == asked[key] for key in ("tests", "views", "figures"))
        if not same_tests or not set(run.variant.rows) <= saved["rows"].keys():
            return None
        skipped = saved.get("skipped", saved.get("left_out", {}))  # the second is its name in old files
        return RunResult(saved["trained"], saved["rows"], saved["videos"], skipped)


def execute(run: Run, loggers: Iterable[Logger] = ()) -> RunResult:
    """Train, or resume a run that stopped, then test; writes `result.json` into the run folder."""
    config, variant = run.config, run.variant
    if variant.trains:
        trainer = Trainer(config)
        trainer.loggers += loggers
        model = trainer.fit()
    else:
        model = _untrained(config)
    trained = sum(model.trained_counts().values()) if variant.trains else 0
    rows: dict[str, dict[str, Mapping[str, float]]] = {row: {} for row in variant.rows}
    result = RunResult(trained, rows, videos := {}, skipped := {})
    for test in run.tests:
        for row, scores in _test(run, model, test):
            rows[row][test.name] = dict(run.figures(scores, test.videos.class_names))
            if row == variant.name:
                videos[test.name], skipped[test.name] = len(scores.labels), tuple(scores.skipped.values())
    write_json(Path(config.out) / RESULT_FILE, {"asked": _asked(run), **asdict(result)})
    return result


def _untrained(config: TrainConfig) -> VideoModel:
    backbone = load_backbone(config.model.backbone, image_size=config.model.image_size)
    model = VideoModel(backbone, config.model, read_train_list(config).class_names, config.seed)
    return model.to(pick_device(config.runtime.device)).eval()


def _test(run: Run, model: VideoModel, test: ScoredList) -> Iterable[tuple[str, Scores]]:
    """The scores of each row. Interpolated scores need no second pass over the videos; interpolated weights do."""
    variant, config, videos = run.variant, run.config, test.videos

    def evaluator(space: Literal["", "weights", "scores"], ratio: float = 0.5) -> Evaluator:
        mixed = InterpolateConfig(space=space, ratio=ratio)
        return Evaluator(model, config.runtime, config.data, interpolation=mixed)

    own = evaluator("scores" if variant.scores else "")
    texts = own.encode_texts(videos.class_names)
    encoded = own.encode(videos.samples, config.views, [texts])
    yield variant.name, own.score(encoded, texts, (1.0, 0.0) if variant.scores else None).scores
    for ratio in variant.scores:
        yield row_name(variant.name, "scores", ratio), own.score(encoded, texts, (ratio, 1 - ratio)).scores
    for ratio in variant.weights:
        between = evaluator("weights", ratio).run(videos.samples, videos.class_names, config.views)
        yield row_name(variant.name, "weights", ratio), between.scores


def _asked(run: Run) -> dict[str, Any]:
    """What a result belongs to, ready for JSON."""
    return {
        "run": run_fingerprint(run.config, read_train_list(run.config)),
        "tests": {test.name: {"videos": len(test.videos.samples), **test.sha256} for test in run.tests},
        "views": to_dict(run.config.views),
        "figures": f"{run.figures.__module__}.{run.figures.__name__}",
    }
