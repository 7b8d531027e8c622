"""An ablation: a loop over training and evaluation, with the overrides of each variant and several seeds.

Every run is an ordinary run folder, and beside its model lies what was found on the test lists.
"""

import statistics
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from vitaclip.ablate.claims import Claim, Verdict, judge
from vitaclip.ablate.variants import Variant
from vitaclip.data.config import DataConfig
from vitaclip.data.lists.sources import read_videos
from vitaclip.distributed import SINGLE_PROCESS
from vitaclip.evaluation.evaluation import Evaluator
from vitaclip.evaluation.metrics import Scores, summarize
from vitaclip.evaluation.protocol_lists import EvalPart, list_part
from vitaclip.files import sha256_of_file, sha256_of_lines, write_json
from vitaclip.saving.upgrade import upgrade_views
from vitaclip.settings import to_dict
from vitaclip.training.config import TrainConfig
from vitaclip.training.inputs import build_model, read_lists
from vitaclip.training.loggers import METRICS_FILE, Logger, read_metrics
from vitaclip.training.run_fingerprint import check_same_run, run_fingerprint
from vitaclip.training.trainer import Trainer
from vitaclip.untrusted import read_json, reading

RESULT_FILE = "result.json"
Figures = Callable[[Scores, Sequence[str]], Mapping[str, float]]
"""Computes named fractions in [0, 1] from scores and class names. It is a module's function, because results are kept
under its name."""


def accuracies(scores: Scores, class_names: Sequence[str]) -> dict[str, float]:
    """Top-1, top-5, and the mean over the classes' accuracies."""
    result = summarize(scores, class_names)
    return {"top1": result.top1, "top5": result.top5, "per_class": result.mean_class_accuracy}


def read_test_list(text: str, data: DataConfig) -> EvalPart:
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
    classes, keep_absent = classes or data.classes, data.on_error == "skip"
    found = read_videos(videos, f"--tests {name}", root=data.root, classes=classes, keep_absent=keep_absent)
    sums = {"candidates": sha256_of_lines(found.class_names)}
    if Path(videos).is_file():
        sums["list"] = sha256_of_file(Path(videos))
    return replace(list_part(videos, found), name=name, sha256=sums)


@dataclass(frozen=True)
class Run:
    """A variant with a seed, and what it is to be tested on."""

    variant: Variant
    config: TrainConfig
    """With the variant's overrides, the seed, and a folder of its own as `out`."""
    tests: tuple[EvalPart, ...]
    figures: Figures

    def asked(self) -> dict[str, Any]:
        """What a result belongs to, ready for JSON."""
        return {
            "run": run_fingerprint(self.config, read_lists(self.config)[0]),
            "tests": {test.name: {"videos": len(test.samples), **test.sha256} for test in self.tests},
            "views": to_dict(self.config.views),
            "figures": f"{self.figures.__module__}.{self.figures.__name__}",
        }


@dataclass(frozen=True)
class RunResult:
    """What a run came to."""

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

    name: str
    about: str
    trained: int
    """Number of parameters that were trained."""
    step_seconds: float
    """Of a training step, as the median over the seeds; 0: not known."""
    memory_gib: float
    """Peak of a training, as the median over the seeds; 0: not known."""
    values: Mapping[str, Mapping[str, Sequence[float]]]
    """Test list, figure: a fraction in [0, 1] for each seed."""


@dataclass(frozen=True)
class AblationResult:
    """The whole table, ready for `dataclasses.asdict` and JSON."""

    config: Mapping[str, Any]
    """What the variants change."""
    seeds: Sequence[int]
    tests: Mapping[str, Mapping[str, Any]]
    """Numbers of videos and candidates of each list, hashes, and why videos were skipped."""
    rows: Sequence[AblationRow]
    claims: Sequence[Verdict]


def run_ablation(
    config: TrainConfig,
    variants: Sequence[Variant],
    seeds: Sequence[int],
    tests: Sequence[EvalPart],
    claims: Sequence[Claim] = (),
    *,
    figures: Figures = accuracies,
    on_done: Callable[[Run, RunResult, bool], None] = lambda _run, _result, _found: None,
    loggers: Callable[[Run], Iterable[Logger]] = lambda _run: (),
) -> AblationResult:
    """Train and test every variant with every seed. Finished runs of an earlier call are kept, stopped ones resumed.

    Args:
        config: what the variants change; `out` is the folder of all runs, `seed` is not read.
        variants: a variant that does not train is tested once and stands for every seed.
        seeds: at least one.
        tests: at least one.
        claims: about rows of the table.
        figures: computes the figures of the table from the scores.
        on_done: called with each run, its result, and whether an earlier call had finished it.
        loggers: take the metrics of a run.

    Raises:
        ValueError: if something is wrong with a variant or a list, or a folder holds another run.

    >>> result = run_ablation(config, variants, [0, 1, 2], tests, claims)  # doctest: +SKIP
    """
    runs: dict[tuple[str, int], Run] = {}
    for seed in seeds:
        for variant in variants:
            if variant.trains or seed == seeds[0]:
                out = str(Path(config.out) / variant.name / f"seed{seed}")
                own = replace(variant.config(config), out=out, seed=seed)
                runs[variant.name, seed] = Run(variant, own, tuple(tests), figures)
    found = {key: find_result(run) for key, run in runs.items()}
    results: dict[tuple[str, int], RunResult] = {}
    for key, run in runs.items():
        results[key] = found[key] or execute(run, loggers(run))
        on_done(run, results[key], found[key] is not None)
    rows = []
    for variant in variants:
        of_seeds = [results[variant.name, seed if variant.trains else seeds[0]] for seed in seeds]
        rows.append(_row(variant, of_seeds))
    described = {test.name: _describe(test, [*results.values()]) for test in tests}
    return AblationResult(to_dict(config), [*seeds], described, rows, _judge(claims, rows))


def _row(variant: Variant, of_seeds: Sequence[RunResult]) -> AblationRow:
    values = {
        test: {figure: [result.values[test][figure] for result in of_seeds] for figure in figures}
        for test, figures in of_seeds[0].values.items()
    }
    seconds = statistics.median(result.step_seconds for result in of_seeds)
    memory = statistics.median(result.memory_gib for result in of_seeds)
    return AblationRow(variant.name, variant.about, of_seeds[0].trained, seconds, memory, values)


def _describe(test: EvalPart, results: Sequence[RunResult]) -> dict[str, Any]:
    return {
        "videos_listed": len(test.samples),
        "videos_scored": next((each.videos[test.name] for each in results if test.name in each.videos), 0),
        "candidates": len(test.candidates.names),
        # A video that was only too slow may be skipped by one run and not by another.
        "skipped": [*dict.fromkeys(line for each in results for line in each.skipped.get(test.name, ()))],
        "sha256": test.sha256,
    }


def _judge(claims: Sequence[Claim], rows: Sequence[AblationRow]) -> list[Verdict]:
    """Judge the claims whose rows, test lists and figures are in the table."""
    values = {row.name: row.values for row in rows}
    return [
        judge(claim, test, figures[claim.figure], values[claim.than][test][claim.figure])
        for claim in claims
        if claim.better in values and claim.than in values
        for test, figures in values[claim.better].items()
        if claim.figure in figures and claim.test in ("", test) and test in values[claim.than]
    ]


def find_result(run: Run) -> RunResult | None:
    """What an earlier call found, if it asked for the same.

    Raises:
        ValueError: if the folder holds a run with another config, class names or training videos.
    """
    file = Path(run.config.out) / RESULT_FILE
    if not file.exists():
        return None
    saved, asked = read_json(file, "delete it"), run.asked()
    with reading(file, "delete it"):
        check_same_run(saved["asked"]["run"], asked["run"], run.config.out)
        before = saved["asked"] | {"views": upgrade_views(saved["asked"]["views"])}
        same_tests = all(before[key] == asked[key] for key in ("tests", "views", "figures"))
        if not same_tests or "skipped" not in saved:
            return None
        if "rows" in saved:  # as older versions wrote it, which had more than one row for some variants
            saved["values"] = saved["rows"][run.variant.name]
        return RunResult(**{name.name: saved[name.name] for name in fields(RunResult) if name.name in saved})


def execute(run: Run, loggers: Iterable[Logger] = ()) -> RunResult:
    """Train, or resume a run that stopped, then test; writes `result.json` into the run folder."""
    config, variant = run.config, run.variant
    if variant.trains:
        trainer = Trainer(config)
        trainer.loggers += loggers
        model = trainer.fit()
    else:
        model = build_model(config, read_lists(config)[0].class_names, SINGLE_PROCESS).eval()
    trained = sum(model.trained_counts().values()) if variant.trains else 0
    evaluator = Evaluator(model, config.runtime, config.data)
    values, videos, skipped = {}, {}, {}
    for test in run.tests:
        if not model.head.serves(test.candidates.names):
            continue
        scores = evaluator.run(list(test.samples.values()), test.candidates.names, config.views).scores
        values[test.name] = dict(run.figures(scores, test.candidates.names))
        videos[test.name], skipped[test.name] = len(scores.labels), tuple(scores.skipped.values())
    result = RunResult(trained, values, videos, skipped, *(_cost(config) if variant.trains else ()))
    write_json(Path(config.out) / RESULT_FILE, {"asked": run.asked(), **asdict(result)})
    return result


def _cost(config: TrainConfig) -> tuple[float, float]:
    """Seconds of a step without its waiting for data, as the median of what the run has logged, and peak memory."""
    lines = read_metrics(Path(config.out) / METRICS_FILE, sys.maxsize)
    logged = [line for line in lines if line.get("clips_per_second")]
    if not logged:
        return 0.0, 0.0
    each = [config.optim.batch_size / line["clips_per_second"] * (1 - line["data_wait_share"]) for line in logged]
    return statistics.median(each), max(line["memory_gib"] for line in logged)
