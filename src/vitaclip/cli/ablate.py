"""`vitaclip ablate`."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from vitaclip.ablate.ablation import AblationResult, run_ablation
from vitaclip.ablate.claims import RULE
from vitaclip.ablate.runs import Run, RunResult, ScoredList, read_scored_list
from vitaclip.ablate.table import format_spread, format_verdict, write_ablation
from vitaclip.ablate.variants import load_comparison
from vitaclip.cli.parser import as_dataclass
from vitaclip.cli.screen import TrainingBar, counting_bar, print_table, progress_bars, terminal
from vitaclip.train.config import TrainConfig
from vitaclip.train.loggers import Logger

DESCRIPTION = """\
Train and test variants of one config with several seeds, and write the table: mean and standard deviation, which
claims hold, a picture. Every run is an ordinary run folder, OUT/<variant>/seed<k>/. Give the same command again to go
on after a stop: finished runs are kept. More seeds, variants or tests may be asked for later.

OUT gets ablation.md with ablation.svg, ablation.csv (a line a value) and ablation.json.

examples:
  vitaclip ablate own_videos --data.train train.csv --data.classes names.txt --data.val val.csv --out ablation
  vitaclip ablate mine.yaml --out ablation --variants full no_summary frozen --seeds 0 1
  vitaclip ablate mine.yaml --out ablation --tests trained=test.csv:names.txt novel=new.csv:new_names.txt
  vitaclip ablate mine.yaml --out ablation --variants_file my_variants.yaml --processes 2"""
_SEEDS = 3
SHOWN_SETTINGS = (
    "config",
    "data.train",
    "data.val",
    "data.classes",
    "variants",
    "seeds",
    "tests",
    "optim.steps",
    "processes",
    "out",
)


def add_arguments(parser: ArgumentParser) -> None:
    """The variants, seeds and tests, and every field of a run."""
    parser.add_argument("--config", action="config", help="a recipe's name, or a YAML file; may stand first")
    parser.add_argument(
        "--variants", nargs="+", type=str, default=[], help="some of the variants; without it all of the file"
    )
    parser.add_argument(
        "--variants_file",
        type=str,
        default="",
        help="YAML file of variants and claims (docs/ablation.md shows one). Empty: those of the package",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        default=[],
        help=f"seeds of each variant; without it {_SEEDS}, from the config's seed on",
    )
    parser.add_argument(
        "--tests",
        nargs="+",
        type=str,
        default=[],
        help="lists to test on, each NAME=VIDEOS or NAME=VIDEOS:CLASSES, CLASSES being the candidates as --data.classes"
        " takes them; without it val=DATA.VAL. The claims of the package know `trained` and `novel`",
    )
    parser.add_argument("--processes", type=int, default=1, help="runs at a time; from 2 on, each on one thread")
    parser.add_class_arguments(TrainConfig)


def run(arguments: Namespace) -> int:
    """Run what is missing, print the table and write it."""
    config = as_dataclass(TrainConfig, arguments)
    comparison = load_comparison(arguments.variants_file, arguments.variants)
    seeds = arguments.seeds or range(config.seed, config.seed + _SEEDS)
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"--seeds {' '.join(map(str, seeds))}: give different numbers, 0 or more")
    if arguments.processes < 1:
        raise ValueError(f"--processes {arguments.processes}: must be at least 1")
    tests = _read_tests(arguments.tests, config)
    console = terminal()
    with progress_bars(terminal(stderr=True)) as progress:
        total = sum(len(seeds) if variant.trains else 1 for variant in comparison.variants)
        advance = counting_bar(progress, "runs", total)

        def on_done(done: Run, result: RunResult, found: bool) -> None:
            told = next(iter(result.rows[done.variant.name].values()))
            figures = ", ".join(f"{figure} {share:.1%}" for figure, share in told.items())
            kept = ", was finished" if found else ""
            progress.console.print(f"{done.variant.name}, seed {done.seed}: {tests[0].name} {figures}{kept}")
            advance(1)

        def loggers(started: Run) -> Sequence[Logger]:
            steps = started.config.optim.steps
            return [TrainingBar(progress, steps, stays=False)] if steps and started.variant.trains else []

        result = run_ablation(
            config, comparison, list(seeds), tests, processes=arguments.processes, on_done=on_done, loggers=loggers
        )
    page = write_ablation(config.out, result)
    _print(result)
    console.print(f"the table: {Path(page).resolve()}", soft_wrap=True)
    return 0


def _print(result: AblationResult) -> None:
    """The first figure of every list, and the claims; the page has all."""
    console, figure = terminal(), result.figures[0]
    rows = [(row.name, *(format_spread(row.values[test.name, figure]) for test in result.tests)) for row in result.rows]
    seeds = ", ".join(map(str, result.seeds))
    title = f"{figure} in per cent, mean ± population standard deviation over seeds {seeds}"
    print_table(console, title, ["", *(test.name for test in result.tests)], rows)
    if result.verdicts:
        told = [(claim, points, outcome) for claim, _, points, outcome in map(format_verdict, result.verdicts)]
        print_table(console, "", ["claim", "points", "outcome"], told)
        console.print(RULE, soft_wrap=True)


def _read_tests(given: Sequence[str], config: TrainConfig) -> list[ScoredList]:
    if not given and not config.data.val:
        raise ValueError("there is nothing to test on; give --tests NAME=VIDEOS:CLASSES, or --data.val")
    tests = [read_scored_list(text, config.data) for text in given or [f"val={config.data.val}"]]
    names = [test.name for test in tests]
    if len(set(names)) < len(names):
        raise ValueError(f"--tests: the names {', '.join(names)} are not all different")
    return tests
