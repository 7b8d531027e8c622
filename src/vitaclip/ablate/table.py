"""Writing an ablation: Markdown with its figure, every single value as CSV, and everything as JSON."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vitaclip import __version__
from vitaclip.ablate.ablation import AblationResult
from vitaclip.ablate.chart import spread_chart
from vitaclip.ablate.claims import RULE, Verdict
from vitaclip.data.lists.video_list import first_lines
from vitaclip.files import csv_text, write_json, write_text
from vitaclip.settings import to_dict

NAME = "ablation"


def write_ablation(folder: str | Path, result: AblationResult, note: str = "") -> Path:
    """Write `ablation.md`, `.svg`, `.csv` and `.json` into a folder, and return the path of the Markdown file.

    Args:
        folder: made if it does not exist.
        result: the table.
        note: what the reader must know of the data, such as that they are synthetic.
    """
    folder = Path(folder)
    write_text(folder / f"{NAME}.svg", _chart(result))
    write_text(folder / f"{NAME}.csv", csv_text(_values(result)))
    write_json(folder / f"{NAME}.json", _json(result) | {"note": note, "version": __version__})
    write_text(folder / f"{NAME}.md", _markdown(result, note))
    return folder / f"{NAME}.md"


def format_spread(values: Sequence[float]) -> str:
    """Mean ± population standard deviation in per cent; only the value for one seed.

    >>> format_spread((0.8, 0.9))
    '85.0 ± 5.0'
    """
    mean = f"{100 * statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.pstdev(values):.1f}"


def format_verdict(verdict: Verdict) -> tuple[str, str, str, str]:
    """The claim with its list, what is compared, the difference in points, and the outcome."""
    claim, error = verdict.claim, verdict.standard_error
    difference = f"{round(100 * verdict.difference, 1) + 0.0:+.1f}"
    difference += "" if math.isnan(error) else f" (± {100 * error:.1f})"
    return f"{claim.says} ({verdict.test})", f"{claim.better} - {claim.than}", difference, verdict.outcome


def _markdown(result: AblationResult, note: str) -> str:
    """The table, the claims, and what was tested on what, as one page."""
    columns = [(test.name, figure) for test in result.tests for figure in result.figures]
    spread = "mean ± population standard deviation over the seeds" if len(result.seeds) > 1 else "seed"
    lines = [f"# Ablation\n\n{note + ' ' if note else ''}Per cent, {spread} {', '.join(map(str, result.seeds))}.\n"]
    lines += _table(
        ["variant", "parameters trained", *map(" ".join, columns)],
        ([row.name, f"{row.trained:,}", *(format_spread(row.values[c]) for c in columns)] for row in result.rows),
    )
    lines += [f"\n![Mean and standard deviation of every variant]({NAME}.svg)\n"]
    if result.verdicts:
        lines += [f"## Claims\n\nBy this rule: {RULE}. Differences are in points, with their standard errors.\n"]
        lines += _table(["claim", "compared", "difference", "outcome"], map(format_verdict, result.verdicts))
    lines += ["\n## Variants\n", *_table(["variant", ""], [(row.name, row.about) for row in result.rows])]
    lines += ["\n## Test lists\n"]
    lines += _table(
        ["list", "videos scored", "candidates", "sha256: list", "names"],
        (
            (
                t.name,
                result.videos[t.name],
                len(t.videos.class_names),
                _short(t.sha256.get("list")),
                _short(t.sha256["candidates"]),
            )
            for t in result.tests
        ),
    )
    for test in result.tests:
        if skipped := result.skipped[test.name]:
            lines += [f"\nSkipped in {test.name}:\n", *(f"- {line}" for line in first_lines(skipped))]
    return "\n".join(lines) + "\n"


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    return [f"| {' | '.join(map(str, row))} |" for row in (headings, ["---"] * len(headings), *rows)]


def _short(sha256: str | None) -> str:
    return f"`{sha256[:16]}`" if sha256 else "(a folder)"


def _chart(result: AblationResult) -> str:
    """The first figure of every row on every list."""
    figure = result.figures[0]
    rows = {row.name: {test.name: row.values[test.name, figure] for test in result.tests} for row in result.rows}
    spoken = "; ".join(f"{name} on {test} {format_spread(v)}" for name, row in rows.items() for test, v in row.items())
    return spread_chart(rows, f"{figure} in per cent. {spoken}.", figure)


def _values(result: AblationResult) -> Iterable[Sequence[object]]:
    """One line for each value."""
    yield "variant", "seed", "test", "figure", "value"
    for row in result.rows:
        for (test, figure), values in row.values.items():
            for seed, value in zip(result.seeds, values, strict=True):
                yield row.name, seed, test, figure, f"{value:.6f}"


def _json(result: AblationResult) -> dict[str, Any]:
    def of_test(values: Any, test: str) -> dict[str, Any]:
        return {figure: values[test, figure] for figure in result.figures}

    return {
        "config": to_dict(result.config),
        "seeds": list(result.seeds),
        "tests": {
            test.name: {
                "videos_listed": len(test.videos.samples),
                "videos_scored": result.videos[test.name],
                "skipped": list(result.skipped[test.name]),
                "candidates": len(test.videos.class_names),
                "sha256": dict(test.sha256),
            }
            for test in result.tests
        },
        "rows": [
            {"name": row.name, "about": row.about, "trained": row.trained}
            | {"values": {test.name: of_test(row.values, test.name) for test in result.tests}}
            for row in result.rows
        ],
        "rule": RULE,
        "claims": [
            asdict(each) | ({"standard_error": None} if math.isnan(each.standard_error) else {})
            for each in result.verdicts
        ],
    }
