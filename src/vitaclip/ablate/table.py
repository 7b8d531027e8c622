"""Writing an ablation: Markdown to read, and everything as JSON."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from vitaclip.ablate.ablation import AblationResult
from vitaclip.ablate.claims import RULE
from vitaclip.files import write_json, write_text
from vitaclip.strings import first_lines
from vitaclip.version import __version__


def format_spread(values: Sequence[float]) -> str:
    """Mean ± population standard deviation in per cent; only the value for one seed.

    >>> format_spread((0.8, 0.9))
    '85.0 ± 5.0'
    """
    mean = f"{100 * statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.pstdev(values):.1f}"


def write_ablation(folder: str | Path, result: AblationResult, note: str = "") -> Path:
    """Write `ablation.md` and `ablation.json` into a folder, and return the path of the first. The page begins with
    `note`, what the reader must know of the data.

    >>> write_ablation("ablation", run_ablation(config, variants, [0, 1], tests))  # doctest: +SKIP
    """
    folder = Path(folder)
    write_json(folder / "ablation.json", asdict(result) | {"rule": RULE, "note": note, "version": __version__})
    write_text(folder / "ablation.md", "\n".join(_markdown(result, note)) + "\n")
    return folder / "ablation.md"


def _markdown(result: AblationResult, note: str) -> Iterator[str]:
    """The lines of a page: the table, the claims, and what was tested on what."""
    spread = "mean ± population standard deviation over the seeds" if len(result.seeds) > 1 else "seed"
    yield f"# Ablation\n\n{note + ' ' if note else ''}Per cent, {spread} {', '.join(map(str, result.seeds))}.\n"
    columns = dict.fromkeys((test, f) for row in result.rows for test, of in row.values.items() for f in of)
    cells = [
        [row.name, f"{row.trained:,}", f"{row.step_seconds:.2f}" if row.step_seconds else "-"]
        + [format_spread(row.values[test][f]) if test in row.values else "-" for test, f in columns]
        for row in result.rows
    ]
    yield from _table(["variant", "parameters trained", "seconds a step", *map(" ".join, columns)], cells)
    yield "\nSeconds are of one training step, without its waiting for data. -: not trained, or names it cannot serve."
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
