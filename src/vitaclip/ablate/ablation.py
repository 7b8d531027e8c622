"""An ablation: a loop over training and evaluation, with the overrides of each variant and several seeds; its table.

Every run is an ordinary run folder, and beside its model lies what was found on the test lists. The table says which
claims hold: Markdown to read, its picture, and everything as JSON.
"""

import math
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

from vitaclip.ablate.variants import Claim, Variant
from vitaclip.data.config import DataConfig
from vitaclip.data.lists.sources import read_videos
from vitaclip.data.lists.video_list import VideoList
from vitaclip.distributed import SINGLE_PROCESS
from vitaclip.evaluation.evaluation import Evaluator
from vitaclip.evaluation.metrics import Scores, summarize
from vitaclip.figures import ACCENT, drawing, to_png
from vitaclip.files import atomic_write, sha256_of_lines, write_json, write_text
from vitaclip.settings import to_dict
from vitaclip.strings import first_lines
from vitaclip.training.config import TrainConfig
from vitaclip.training.inputs import build_model, read_lists
from vitaclip.training.loggers import METRICS_FILE, read_metrics
from vitaclip.training.run_dir import check_same_run, run_fingerprint
from vitaclip.training.trainer import Trainer
from vitaclip.untrusted import read_json, reading
from vitaclip.version import __version__

RESULT_FILE = "result.json"
RULE = (
    "a claim is held if the mean over the seeds of the difference (paired by seed) is above twice its standard error,"
    " reversed if it is below minus twice that, and not shown otherwise; one seed shows nothing"
)
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
        result = found[key] or _train_and_test(variant, own, tests, figures)
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


def _train_and_test(variant: Variant, config: TrainConfig, tests: Sequence[TestList], figures: Figures) -> RunResult:
    trained, cost = 0, (0.0, 0.0)
    if variant.trains:
        model = Trainer(config).fit()
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


@dataclass(frozen=True)
class Verdict:
    """A claim on a test list, judged by `RULE`."""

    claim: Claim
    test: str
    difference: float
    """Mean over the seeds of better minus than."""
    standard_error: float | None
    """Of that mean; None for one seed."""
    outcome: str
    """held, not shown or reversed."""


def judge(claim: Claim, test: str, better: Sequence[float], than: Sequence[float]) -> Verdict:
    """Judge a claim by two rows' values, one a seed, in the same order.

    >>> judge(Claim(says="a helps", better="a", than="b"), "val", [0.5, 0.7], [0.4, 0.6]).outcome
    'held'
    """
    differences = [a - b for a, b in zip(better, than, strict=True)]
    mean, count = statistics.fmean(differences), len(differences)
    if count == 1:
        return Verdict(claim, test, mean, None, "not shown")
    error = statistics.stdev(differences) / math.sqrt(count)
    outcome = "held" if mean > 2 * error else "reversed" if mean < -2 * error else "not shown"
    return Verdict(claim, test, mean, error, outcome)


def write_ablation(folder: str | Path, result: AblationResult, note: str = "") -> Path:
    """Write `ablation.md`, `ablation.png` and `ablation.json` into a folder, and return the path of the first. The page
    begins with `note`, what the reader must know of the data.

    >>> write_ablation("ablation", run_ablation(config, variants, [0, 1], tests))  # doctest: +SKIP
    """
    folder, verdicts = Path(folder), _judge_all(result)
    tests = {name: describe_test(videos) for name, videos in result.tests}
    content = {"seeds": [*result.seeds], "tests": tests, "rows": [asdict(row) for row in result.rows]}
    content |= {"claims": [asdict(each) for each in verdicts], "rule": RULE, "note": note, "version": __version__}
    write_json(folder / "ablation.json", content)
    with atomic_write(folder / "ablation.png") as picture:
        picture.write_bytes(_draw(result.rows))
    write_text(folder / "ablation.md", "\n".join(_markdown(result, verdicts, note)) + "\n")
    return folder / "ablation.md"


def _judge_all(result: AblationResult) -> list[Verdict]:
    """The verdicts on the claims whose rows, test lists and figures are in the table."""
    rows, verdicts = {row.variant.name: row for row in result.rows}, []
    for claim in result.claims:
        if claim.better in rows and claim.than in rows:
            for test in [claim.test] if claim.test else [name for name, _ in result.tests]:
                better, than = (rows[name].values(test, claim.figure) for name in (claim.better, claim.than))
                verdicts += [judge(claim, test, better, than)] if better and than else []
    return verdicts


def _markdown(result: AblationResult, verdicts: Sequence[Verdict], note: str) -> Iterator[str]:
    """The lines of a page: the table, the claims, and what was tested on what."""
    rows, runs = result.rows, [run for row in result.rows for run in row.runs]
    spread = "mean ± population standard deviation over the seeds" if len(result.seeds) > 1 else "seed"
    yield f"# Ablation\n\n{note + ' ' if note else ''}Per cent, {spread} {', '.join(map(str, result.seeds))}.\n"
    columns = dict.fromkeys((test, figure) for run in runs for test, of in run.values.items() for figure in of)
    cells = [
        [row.variant.name, f"{row.runs[0].trained:,}"]
        + [_median(run.step_seconds for run in row.runs), _median(run.memory_gib for run in row.runs)]
        + [_spread(row.values(*column)) for column in columns]
        for row in rows
    ]
    yield from _table(["variant", "parameters trained", "seconds a step", "GiB", *map(" ".join, columns)], cells)
    yield "\nSeconds are of one training step, without its waiting for data; GiB are the peak of training, on a CPU all"
    yield "that the process holds. -: not trained, or names it cannot serve.\n\n![The same as a picture](ablation.png)"
    if verdicts:
        yield f"\n## Claims\n\nBy this rule: {RULE}. Differences are in points, with their standard errors.\n"
        yield from _table(["claim", "compared", "difference", "outcome"], map(_verdict, verdicts))
    yield "\n## Variants\n"
    yield from _table(["variant", ""], ([row.variant.name, row.variant.about] for row in rows))
    yield "\n## Test lists\n"
    scored = {name: max(run.videos.get(name, 0) for run in runs) for name, _ in result.tests}
    counts = ([name, scored[name], len(videos.class_names)] for name, videos in result.tests)
    yield from _table(["list", "videos scored", "candidates"], counts)
    for name in scored:
        # A video that was only too slow may be skipped by one run and not by another.
        if skipped := [*dict.fromkeys(line for run in runs for line in run.skipped.get(name, ()))]:
            yield f"\nSkipped in {name}:\n"
            yield from (f"- {line}" for line in first_lines(skipped))


def _median(costs: Iterable[float]) -> str:
    return f"{cost:.2f}" if (cost := statistics.median(costs)) else "-"


def _spread(values: Sequence[float]) -> str:
    """Mean ± population standard deviation in per cent; only the value for one seed."""
    if not values:
        return "-"
    mean = f"{100 * statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.pstdev(values):.1f}"


def _verdict(verdict: Verdict) -> tuple[str, str, str, str]:
    claim, error = verdict.claim, verdict.standard_error
    points = f"{round(100 * verdict.difference, 1) + 0.0:+.1f}"  # no minus zero
    points += "" if error is None else f" (± {100 * error:.1f})"
    return f"{claim.says} ({verdict.test})", f"{claim.better} - {claim.than}", points, verdict.outcome


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    for cells in (headings, ["---"] * len(headings), *rows):
        yield f"| {' | '.join(map(str, cells))} |"


def _draw(rows: Sequence[AblationRow]) -> bytes:
    """A PNG with a line a row: its first figure (top-1) on each test list, a dot a seed and a bar at the mean."""
    tests = dict.fromkeys(test for row in rows for test in row.runs[0].values)
    with drawing(7.5, 1.2 + 0.27 * len(rows)) as figure:
        axes = figure.subplots()
        for number, (test, colour) in enumerate(zip(tests, cycle((ACCENT, "#c2571a", "#2f9c86")), strict=False)):
            shift = 0.3 * (number - (len(tests) - 1) / 2)
            served = {y + shift: row.runs for y, row in enumerate(rows) if test in row.runs[0].values}
            top1 = {y: [next(iter(run.values[test].values())) for run in runs] for y, runs in served.items()}
            for y, seeds in top1.items():
                axes.plot(seeds, [y] * len(seeds), ".", color=colour, alpha=0.5)
            axes.plot([*map(statistics.fmean, top1.values())], [*top1], "|", color=colour, markersize=10, label=test)
        axes.set_yticks(range(len(rows)), [row.variant.name for row in rows])
        axes.set(xlim=(-0.01, 1.01), xticks=[0, 0.25, 0.5, 0.75, 1], xticklabels=["0", "25", "50", "75", "100 %"])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="x")
        figure.legend(loc="outside upper center", ncols=len(tests))
        return to_png(figure)
