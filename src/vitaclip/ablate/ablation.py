"""An ablation: a loop over training and evaluation, with the overrides of each variant and several seeds.

Every run is an ordinary run folder, and beside its model lies what was found on the test lists.
"""

import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vitaclip.ablate.variants import Claim, Variant
from vitaclip.data.config import DataConfig
from vitaclip.data.lists.sources import read_videos
from vitaclip.data.lists.video_list import VideoList
from vitaclip.distributed import SINGLE_PROCESS
from vitaclip.evaluation.evaluation import Evaluator
from vitaclip.evaluation.metrics import Scores, summarize
from vitaclip.files import sha256_of_lines, write_json
from vitaclip.settings import to_dict
from vitaclip.training.config import TrainConfig
from vitaclip.training.inputs import build_model, read_lists
from vitaclip.training.loggers import METRICS_FILE, Logger, read_metrics
from vitaclip.training.run_dir import check_same_run, run_fingerprint
from vitaclip.training.trainer import Trainer
from vitaclip.untrusted import read_json, reading

RESULT_FILE = "result.json"
TestList = tuple[str, VideoList]
"""Videos to test on, whose class names are the candidates, under the name that the table has for them."""
Figures = Callable[[Scores, Sequence[str]], Mapping[str, float]]
"""Computes named fractions in [0, 1] from scores and class names. It is a module's function, because results are kept
under its name."""


def accuracies(scores: Scores, class_names: Sequence[str]) -> dict[str, float]:
    """Top-1, top-5, and the mean over the classes' accuracies."""
    result = summarize(scores, class_names)
    return {"top1": result.top1, "top5": result.top5, "per_class": result.mean_class_accuracy}


def read_test_list(text: str, data: DataConfig) -> TestList:
    """Read `NAME=VIDEOS` or `NAME=VIDEOS:CLASSES`; without classes the candidates are those of `data`.

    >>> read_test_list("novel=test.csv:names.txt", DataConfig())  # doctest: +SKIP

    Raises:
        ValueError: if it is written otherwise, or something is wrong with the list.
    """
    name, _, source = text.partition("=")
    if not name or not source:
        raise ValueError(
            f"--tests {text!r}: write NAME=VIDEOS or NAME=VIDEOS:CLASSES, such as novel=test.csv:names.txt"
        )
    videos, _, classes = source.partition(":")
    keep = data.on_error == "skip"
    where = f"--tests {name}"
    return name, read_videos(videos, where, root=data.root, classes=classes or data.classes, keep_absent=keep)


@dataclass(frozen=True)
class RunResult:
    """What a variant came to with one seed."""

    trained: int
    """Number of parameters that train."""
    values: Mapping[str, Mapping[str, float]]
    """Test list, figure: a fraction in [0, 1]. Lists with names that the model cannot serve are not there."""
    videos: Mapping[str, int]
    """Number of videos of each test list that were scored."""
    skipped: Mapping[str, Sequence[str]]
    """Why the others of each test list were not scored."""
    step_seconds: float = 0.0
    """What a step took without its waiting for data, as the median of what was logged; 0: not known."""
    memory_gib: float = 0.0
    """Peak of the training; 0: not known."""


@dataclass(frozen=True)
class AblationRow:
    """A line of the table."""

    variant: Variant
    runs: Sequence[RunResult]
    """One for each seed; a variant that does not train has the same for all."""

    def values(self, test: str, figure: str) -> list[float]:
        """A figure for each seed; empty if the model cannot serve the names of the list."""
        return [run.values[test][figure] for run in self.runs if figure in run.values.get(test, {})]


@dataclass(frozen=True)
class AblationResult:
    """The whole table, and what was asked for."""

    seeds: Sequence[int]
    tests: Sequence[TestList]
    claims: Sequence[Claim]
    rows: Sequence[AblationRow]


def run_ablation(
    config: TrainConfig,
    variants: Sequence[Variant],
    seeds: Sequence[int],
    tests: Sequence[TestList],
    claims: Sequence[Claim] = (),
    *,
    figures: Figures = accuracies,
    on_done: Callable[[TrainConfig, RunResult, bool], None] = lambda _config, _result, _found: None,
    loggers: Callable[[Trainer], Iterable[Logger]] = lambda _trainer: (),
) -> AblationResult:
    """Train and test every variant with every seed. Finished runs of an earlier call are kept, stopped ones resumed.

    Args:
        config: what the variants change; `out` is the folder of all runs, `seed` is not read.
        variants: a variant that does not train is tested once and stands for every seed.
        seeds: at least one.
        tests: at least one.
        claims: about rows of the table.
        figures: computes the figures of the table from the scores.
        on_done: called with the config of each run, its result, and whether an earlier call had finished it.
        loggers: take the metrics of a run.

    Raises:
        ValueError: if something is wrong with a variant or a list, or a folder holds another run.

    >>> result = run_ablation(config, variants, [0, 1, 2], tests, claims)  # doctest: +SKIP
    """
    runs = {}
    for seed in seeds:
        for variant in variants:
            if variant.trains or seed == seeds[0]:
                out = str(Path(config.out) / variant.name / f"seed{seed}")
                runs[variant.name, seed] = variant, replace(variant.config(config), out=out, seed=seed)
    asked = {key: _asked(own, tests, figures) for key, (_, own) in runs.items()}
    found = {
        key: _find_result(own.out, asked[key]) for key, (_, own) in runs.items()
    }  # first: a mistake trains nothing
    results = {}
    for key, (variant, own) in runs.items():
        result = found[key] or _train_and_test(variant, own, tests, figures, loggers)
        write_json(Path(own.out) / RESULT_FILE, {"asked": asked[key], **asdict(result)})
        on_done(own, result, found[key] is not None)
        results[key] = result
    rows = [
        AblationRow(variant, [results[variant.name, seed if variant.trains else seeds[0]] for seed in seeds])
        for variant in variants
    ]
    return AblationResult(seeds, tests, claims, rows)


def describe_test(videos: VideoList) -> dict[str, Any]:
    """How many videos and candidates a test list has, and SHA-256 sums of both."""
    lines = (f"{sample.path},{'|'.join(map(str, sample.labels))}" for sample in videos.samples)
    return {
        "videos": len(videos.samples),
        "candidates": len(videos.class_names),
        "sha256": {"list": sha256_of_lines(lines), "candidates": sha256_of_lines(videos.class_names)},
    }


def _asked(config: TrainConfig, tests: Sequence[TestList], figures: Figures) -> dict[str, Any]:
    """What a result belongs to, ready for JSON."""
    return {
        "run": run_fingerprint(config, read_lists(config)[0]),
        "tests": {name: describe_test(videos) for name, videos in tests},
        "views": to_dict(config.views),
        "figures": f"{figures.__module__}.{figures.__name__}",
    }


def _find_result(folder: str, asked: Mapping[str, Any]) -> RunResult | None:
    """What an earlier call found, if it asked for the same; another run in the folder is a ValueError."""
    file = Path(folder) / RESULT_FILE
    if not file.exists():
        return None
    with reading(file, "delete it"):
        saved = read_json(file, "delete it")
        before = saved.pop("asked")
        check_same_run(before.pop("run"), asked["run"], folder)
        return RunResult(**saved) if all(asked[key] == value for key, value in before.items()) else None


def _train_and_test(
    variant: Variant,
    config: TrainConfig,
    tests: Sequence[TestList],
    figures: Figures,
    loggers: Callable[[Trainer], Iterable[Logger]],
) -> RunResult:
    trained, cost = 0, (0.0, 0.0)
    if variant.trains:
        trainer = Trainer(config)
        trainer.loggers += loggers(trainer)
        model = trainer.fit()
        trained, cost = sum(model.trained_counts().values()), _cost(config)
    else:
        model = build_model(config, read_lists(config)[0].class_names, SINGLE_PROCESS).eval()
    evaluator = Evaluator(model, config.runtime, config.data)
    values, counts, skipped = {}, {}, {}
    for name, videos in tests:
        if model.head.serves(videos.class_names):
            scores = evaluator.run(videos.samples, videos.class_names, config.views).scores
            values[name] = dict(figures(scores, videos.class_names))
            counts[name], skipped[name] = len(scores.labels), [*scores.skipped.values()]
    return RunResult(trained, values, counts, skipped, *cost)


def _cost(config: TrainConfig) -> tuple[float, float]:
    """Seconds of a step without its waiting for data, as the median of what the run has logged, and peak memory."""
    lines = read_metrics(Path(config.out) / METRICS_FILE, sys.maxsize)
    logged = [line for line in lines if line.get("clips_per_second")]
    each = [config.optim.batch_size / line["clips_per_second"] * (1 - line["data_wait_share"]) for line in logged]
    return statistics.median(each or [0.0]), max((line["memory_gib"] for line in logged), default=0.0)
