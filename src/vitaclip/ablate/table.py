"""Writing an ablation: which claims hold, Markdown to read, its picture, and everything as JSON."""

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

from vitaclip.ablate.ablation import AblationResult, AblationRow, describe_test
from vitaclip.ablate.variants import Claim
from vitaclip.figures import ACCENT, drawing, to_png
from vitaclip.files import atomic_write, write_json, write_text
from vitaclip.strings import first_lines
from vitaclip.version import __version__

RULE = (
    "a claim is held if the mean over the seeds of the difference (paired by seed) is above twice its standard error,"
    " reversed if it is below minus twice that, and not shown otherwise; one seed shows nothing"
)


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
