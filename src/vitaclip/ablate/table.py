"""Writing an ablation: Markdown to read, its picture, and everything as JSON."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from statistics import fmean, pstdev

from vitaclip.ablate.ablation import AblationResult, AblationRow
from vitaclip.ablate.claims import RULE
from vitaclip.figures import ACCENT, drawing, to_png
from vitaclip.files import atomic_write, write_json, write_text
from vitaclip.strings import first_lines
from vitaclip.version import __version__


def format_spread(values: Sequence[float]) -> str:
    """Mean ± population standard deviation in per cent; only the value for one seed.

    >>> format_spread((0.8, 0.9))
    '85.0 ± 5.0'
    """
    mean = f"{100 * fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * pstdev(values):.1f}"


def write_ablation(folder: str | Path, result: AblationResult, note: str = "") -> Path:
    """Write `ablation.md`, `ablation.png` and `ablation.json` into a folder, and return the path of the first. The page
    begins with `note`, what the reader must know of the data.

    >>> write_ablation("ablation", run_ablation(config, variants, [0, 1], tests))  # doctest: +SKIP
    """
    folder = Path(folder)
    write_json(folder / "ablation.json", asdict(result) | {"rule": RULE, "note": note, "version": __version__})
    with atomic_write(folder / "ablation.png") as picture:
        picture.write_bytes(draw_rows(result.rows))
    write_text(folder / "ablation.md", "\n".join(_markdown(result, note)) + "\n")
    return folder / "ablation.md"


def _markdown(result: AblationResult, note: str) -> Iterator[str]:
    """The lines of a page: the table, the claims, and what was tested on what."""
    spread = "mean ± population standard deviation over the seeds" if len(result.seeds) > 1 else "seed"
    yield f"# Ablation\n\n{note + ' ' if note else ''}Per cent, {spread} {', '.join(map(str, result.seeds))}.\n"
    columns = dict.fromkeys((test, f) for row in result.rows for test, of in row.values.items() for f in of)
    cells = [
        [row.name, f"{row.trained:,}", _or_dash(row.step_seconds), _or_dash(row.memory_gib)]
        + [format_spread(row.values[test][f]) if test in row.values else "-" for test, f in columns]
        for row in result.rows
    ]
    yield from _table(["variant", "parameters trained", "seconds a step", "GiB", *map(" ".join, columns)], cells)
    yield "\nSeconds are of one training step, without its waiting for data; GiB are the peak of training, on a CPU all"
    yield "that the process holds. -: not trained, or names it cannot serve.\n\n![The same as a picture](ablation.png)"
    if result.claims:
        yield f"\n## Claims\n\nBy this rule: {RULE}. Differences are in points, with their standard errors.\n"
        yield from _table(["claim", "compared", "difference", "outcome"], (each.cells() for each in result.claims))
    yield "\n## Variants\n"
    yield from _table(["variant", ""], ([row.name, row.about] for row in result.rows))
    yield "\n## Test lists\n"
    counts = ([name, test["videos_scored"], test["candidates"]] for name, test in result.tests.items())
    yield from _table(["list", "videos scored", "candidates"], counts)
    for name, test in result.tests.items():
        if test["skipped"]:
            yield f"\nSkipped in {name}:\n"
            yield from (f"- {line}" for line in first_lines(test["skipped"]))


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    for cells in (headings, ["---"] * len(headings), *rows):
        yield f"| {' | '.join(map(str, cells))} |"


def _or_dash(cost: float) -> str:
    return f"{cost:.2f}" if cost else "-"


def draw_rows(rows: Sequence[AblationRow]) -> bytes:
    """A PNG with a line a row: its first figure (top-1) on each test list, a dot a seed and a bar at the mean."""
    tests = list(dict.fromkeys(test for row in rows for test in row.values))
    with drawing(7.5, 1.2 + 0.27 * len(rows)) as figure:
        axes = figure.subplots()
        for number, (test, colour) in enumerate(zip(tests, cycle((ACCENT, "#c2571a", "#2f9c86")), strict=False)):
            shift = 0.3 * (number - (len(tests) - 1) / 2)
            served = {y + shift: row.values[test] for y, row in enumerate(rows) if test in row.values}
            top1 = {y: next(iter(figures.values())) for y, figures in served.items()}
            for y, seeds in top1.items():
                axes.plot(seeds, [y] * len(seeds), ".", color=colour, alpha=0.5)
            axes.plot([*map(fmean, top1.values())], [*top1], "|", color=colour, markersize=10, label=test)
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.set(xlim=(-0.01, 1.01), xticks=[0, 0.25, 0.5, 0.75, 1], xticklabels=["0", "25", "50", "75", "100 %"])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(axis="x")
        figure.legend(loc="outside upper center", ncols=len(tests))
        return to_png(figure)
