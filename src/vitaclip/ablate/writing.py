"""Writing an ablation: Markdown with its picture, every single value as csv, and everything as JSON."""

import math
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vitaclip import __version__
from vitaclip.ablate.ablation import AblationResult, Row
from vitaclip.ablate.chart import Spread, spread_chart
from vitaclip.ablate.claims import RULE, Verdict
from vitaclip.config import to_dict
from vitaclip.data.lists.rows import first_lines
from vitaclip.files import csv_text, write_json, write_text

NAME = "ablation"


def write_ablation(folder: str | Path, result: AblationResult, note: str = "") -> Path:
    """Write `ablation.md`, `.svg`, `.csv` and `.json` into a folder.

    Args:
        folder: where to.
        result: the table.
        note: what the reader must know of the data, such as that they are synthetic.

    Returns:
        The Markdown file.
    """
    folder = Path(folder)
    write_text(folder / f"{NAME}.svg", picture(result))
    write_text(folder / f"{NAME}.csv", csv_text(_csv_rows(result)))
    write_json(folder / f"{NAME}.json", _json(result) | {"note": note, "version": __version__})
    write_text(folder / f"{NAME}.md", markdown(result, note))
    return folder / f"{NAME}.md"


def cells(result: AblationResult, row: Row) -> list[str]:
    """Mean ± population standard deviation over the seeds, per cent, in the order of `headings`."""
    return [format_spread(row.values[test.name, figure]) for test in result.tests for figure in result.figures]


def headings(result: AblationResult) -> list[str]:
    """Test list and figure of each cell."""
    return [f"{test.name} {figure}" for test in result.tests for figure in result.figures]


def format_spread(values: tuple[float, ...]) -> str:
    """(0.8, 0.9) -> "85.0 ± 5.0"; without the deviation for one seed."""
    mean = f"{100 * statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.pstdev(values):.1f}"


def format_verdict(verdict: Verdict) -> tuple[str, str, str, str]:
    """Claim with its list, what is compared, the difference in points, and the outcome."""
    claim, error = verdict.claim, verdict.standard_error
    difference = f"{round(100 * verdict.difference, 1) + 0.0:+.1f}" + (
        "" if math.isnan(error) else f" (± {100 * error:.1f})"
    )
    return f"{claim.says} ({verdict.test})", f"{claim.better} - {claim.than}", difference, verdict.outcome


def markdown(result: AblationResult, note: str) -> str:
    """The table, the claims, and what was tested on what, as one page."""
    seeds = ", ".join(map(str, result.seeds))
    spread = "mean ± population standard deviation over the seeds" if len(result.seeds) > 1 else "seed"
    lines = [f"# Ablation\n\n{note + ' ' if note else ''}Per cent, {spread} {seeds}.\n"]
    table = [[row.name, f"{row.trained:,}", *cells(result, row)] for row in result.rows]
    lines += _table(["variant", "numbers that train", *headings(result)], table)
    lines += [f"\n![Mean and standard deviation of every variant]({NAME}.svg)\n"]
    if result.verdicts:
        lines += [f"## Claims\n\nBy this rule: {RULE}. Differences are in points, with their standard errors.\n"]
        lines += _table(["claim", "compared", "difference", "outcome"], map(format_verdict, result.verdicts))
    lines += ["\n## Variants\n", *_table(["variant", ""], [(row.name, row.about) for row in result.rows])]
    lists = [
        (test.name, result.videos[test.name], len(test.videos.class_names), *_sums(test.sha256))
        for test in result.tests
    ]
    lines += ["\n## Test lists\n", *_table(["list", "videos scored", "candidates", "sha256: list", "names"], lists)]
    for test in result.tests:
        if left_out := result.left_out[test.name]:
            lines += [f"\nLeft out of {test.name}:\n", *(f"- {line}" for line in first_lines(left_out))]
    return "\n".join(lines) + "\n"


def picture(result: AblationResult) -> str:
    """The first figure of every row on every list."""
    figure = result.figures[0]
    spreads = [
        Spread(row.name, test.name, row.values[test.name, figure]) for row in result.rows for test in result.tests
    ]
    spoken = "; ".join(f"{each.row} on {each.test} {format_spread(each.values)}" for each in spreads)
    return spread_chart(spreads, f"{figure} in per cent. {spoken}.", figure)


def _sums(sums: Any) -> tuple[str, str]:
    return f"`{sums['list'][:16]}`" if "list" in sums else "(a folder)", f"`{sums['candidates'][:16]}`"


def _table(headings: list[str], rows: Any) -> list[str]:
    cells = [headings, ["---"] * len(headings), *rows]
    return [f"| {' | '.join(str(cell) for cell in row)} |" for row in cells]


def _csv_rows(result: AblationResult) -> list[tuple[object, ...]]:
    """A line a value."""
    rows: list[tuple[object, ...]] = [("variant", "seed", "test", "figure", "value")]
    for row in result.rows:
        for (test, figure), values in row.values.items():
            rows += [
                (row.name, seed, test, figure, f"{value:.6f}") for seed, value in zip(result.seeds, values, strict=True)
            ]
    return rows


def _json(result: AblationResult) -> dict[str, Any]:
    tests = {
        test.name: {
            "videos_listed": len(test.videos.rows),
            "videos_scored": result.videos[test.name],
            "left_out": list(result.left_out[test.name]),
            "candidates": len(test.videos.class_names),
            "sha256": dict(test.sha256),
        }
        for test in result.tests
    }
    rows = [
        {
            "name": row.name,
            "about": row.about,
            "trained": row.trained,
            "values": {test.name: {f: row.values[test.name, f] for f in result.figures} for test in result.tests},
        }
        for row in result.rows
    ]
    claims = [asdict(verdict) | {"standard_error": _finite(verdict.standard_error)} for verdict in result.verdicts]
    return {
        "config": to_dict(result.config),
        "seeds": list(result.seeds),
        "tests": tests,
        "rows": rows,
        "rule": RULE,
        "claims": claims,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
