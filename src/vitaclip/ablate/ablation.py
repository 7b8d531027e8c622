"""An ablation: a loop over variants and seeds, each trained and tested once, and what they come to."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

from vitaclip.ablate.claims import Verdict, judge_all
from vitaclip.ablate.runs import Figures, Run, RunResult, ScoredList, accuracies, execute, find_result, plan_run
from vitaclip.ablate.variants import Comparison
from vitaclip.train.config import TrainConfig
from vitaclip.train.loggers import Logger

Loggers = Callable[[Run], Iterable[Logger]]


@dataclass(frozen=True)
class AblationRow:
    """A line of the table."""

    name: str
    about: str
    trained: int
    """Number of parameters that were trained."""
    values: Mapping[tuple[str, str], tuple[float, ...]]
    """(test list, figure): a fraction in [0, 1] for each seed."""


@dataclass(frozen=True)
class AblationResult:
    """The whole table."""

    config: TrainConfig
    """What the variants change."""
    seeds: tuple[int, ...]
    tests: tuple[ScoredList, ...]
    videos: Mapping[str, int]
    """Number of videos of each test list that were scored."""
    skipped: Mapping[str, Sequence[str]]
    """For each test list, the reasons why videos could not be read."""
    figures: tuple[str, ...]
    rows: tuple[AblationRow, ...]
    verdicts: tuple[Verdict, ...]


def run_ablation(
    config: TrainConfig,
    comparison: Comparison,
    seeds: Sequence[int],
    tests: Sequence[ScoredList],
    *,
    figures: Figures = accuracies,
    processes: int = 1,
    on_done: Callable[[Run, RunResult, bool], None] = lambda _run, _result, _found: None,
    loggers: Loggers = lambda _run: (),
) -> AblationResult:
    """Train and test every variant with every seed. Finished runs of an earlier call are kept, stopped ones resumed.

    Args:
        config: what the variants change; `out` is the folder of all runs, `seed` is not read.
        comparison: the variants and claims. A variant that does not train is tested once and stands for every seed.
        seeds: at least one.
        tests: at least one.
        figures: computes the figures of the table from the scores.
        processes: runs at a time; from 2 on, each on one thread.
        on_done: called with each run, its result, and whether an earlier call had finished it.
        loggers: take the metrics of a run; only used with one process.

    Raises:
        ValueError: if something is wrong with a variant or a list, or a folder holds another run.
    """
    runs = {
        (variant.name, seed): plan_run(variant, seed, config, tests, figures)
        for seed in seeds
        for variant in comparison.variants
        if variant.trains or seed == seeds[0]
    }
    results = {key: found for key, run in runs.items() if (found := find_result(run))}
    for key, found in results.items():
        on_done(runs[key], found, True)
    todo = {key: run for key, run in runs.items() if key not in results}
    for key, result in _execute(todo, processes, loggers):
        results[key] = result
        on_done(runs[key], result, False)

    rows: dict[str, AblationRow] = {}
    for variant in comparison.variants:
        of_seeds = [results[variant.name, seed if variant.trains else seeds[0]] for seed in seeds]
        for name in variant.rows:
            about = variant.about if name == variant.name else f"between frozen CLIP (0) and {variant.name} (1)"
            values = {
                (test, figure): tuple(result.rows[name][test][figure] for result in of_seeds)
                for test, of_test in of_seeds[0].rows[name].items()
                for figure in of_test
            }
            rows[name] = AblationRow(name, about, of_seeds[0].trained, values)
    # A video that was only too slow may be skipped by one run and not by another.
    skipped = {
        test.name: tuple(dict.fromkeys(line for each in results.values() for line in each.skipped.get(test.name, ())))
        for test in tests
    }
    first = next(iter(rows.values())).values
    return AblationResult(
        *(config, tuple(seeds), tuple(tests), results[next(iter(runs))].videos, skipped),
        figures=tuple(dict.fromkeys(figure for _, figure in first)),
        rows=tuple(rows.values()),
        verdicts=tuple(judge_all(comparison.claims, {name: row.values for name, row in rows.items()})),
    )


def _execute(
    runs: Mapping[tuple[str, int], Run], processes: int, loggers: Loggers
) -> Iterator[tuple[tuple[str, int], RunResult]]:
    """Yield the results as the runs finish."""
    if processes == 1:
        yield from ((key, execute(run, loggers(run))) for key, run in runs.items())
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the new processes: two with more threads would stall each other
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(execute, run): key for key, run in runs.items()}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
