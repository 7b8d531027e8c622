"""What the commands draw on the terminal: progress bars with rate and time left, and tables."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from vitaclip.strings import first_lines, printable


class RateColumn(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        """The rate, or nothing while it is unknown."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="progress.data.speed")


class ProgressWithNotes(Progress):
    """Bars, and below them the notes of those still running: beside a bar they would not fit a narrow terminal."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The table of bars, then a line for each note."""
        yield from super().get_renderables()
        for task in self.tasks:
            if task.fields["note"] and not task.finished:
                yield Text(f"  {task.fields['note']}", style="dim")


class _Terminal(Console):
    """A console on which names of files and classes do no harm; every string, table cells too, becomes one line."""

    def render_str(self, text: str, **options: Any) -> Text:
        """The string with control characters as escapes; see `printable`."""
        return super().render_str(printable(text), **options)


def terminal(*, stderr: bool = False, quiet: bool = False) -> Console:
    """The terminal; names of users' files and classes are printed whole, brackets and all, but harmless."""
    return _Terminal(stderr=stderr, quiet=quiet, markup=False, highlight=False, emoji=False)


def print_error(message: str) -> None:
    """Print what a user has to mend on standard error.

    Further lines of a list of problems are indented, so that a line end inside a name cannot forge a message of ours.
    """
    print("\n  ".join(map(printable, f"vitaclip: error: {message}".split("\n"))), file=sys.stderr)


@contextmanager
def progress_bars(console: Console) -> Iterator[Progress]:
    """Bars with count, rate, time taken and time left."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with ProgressWithNotes(*columns, console=console) as progress:
        yield progress


class TrainingBar:
    """A logger that moves a progress bar and shows loss and accuracy below it; in a file, a line each time."""

    def __init__(self, progress: Progress, steps: int, done: int = 0, *, stays: bool = True) -> None:
        """`stays` keeps the bar on the screen when training is over."""
        self._progress, self._steps, self._stays = progress, steps, stays
        self._task = progress.add_task("training", total=steps, completed=done, note="")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Move to `step`; metrics of validation are printed on a line of their own."""
        if "train/loss" in metrics:
            note = (
                f"loss {metrics['train/loss']:.3f}, top-1 {metrics['train/top1']:.0%},"
                f" {metrics['clips_per_second']:.1f} clips/s, waiting for data {metrics['data_wait_share']:.0%},"
                f" memory {metrics['memory_gib']:.1f} GiB"
            )
            self._progress.update(self._task, completed=step, note=note)
            if not self._progress.console.is_terminal:  # a bar shows nothing in a file before it ends
                self._progress.console.print(f"step {step} of {self._steps}: {note}", soft_wrap=True)
        if "val/top1" in metrics:
            shown = {"top-1": "val/top1", "top-5": "val/top5", "mAP": "val/mAP"}
            figures = ", ".join(f"{name} {metrics[key]:.1%}" for name, key in shown.items() if key in metrics)
            self._progress.console.print(f"step {step}: validation {figures}")

    def close(self) -> None:
        """The bar closes with its progress display, or goes."""
        self._progress.update(self._task, visible=self._stays)


def counting_bar(progress: Progress, what: str, total: int) -> Callable[[int], None]:
    """A bar of `total` units; call the result with the number of units just done."""
    task = progress.add_task(what, total=total, note="")
    return lambda done: progress.advance(task, done)


def print_skipped(console: Console, reasons: Sequence[str]) -> None:
    """A line for each of the first videos that were skipped, and how many more there are."""
    for line in first_lines(reasons):
        console.print(f"skipped: {line}", style="yellow", soft_wrap=True)


def print_table(console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table below its title; all columns but the first are right-aligned."""
    if title:
        console.print(title, style="bold", soft_wrap=True)
    table = Table(header_style="bold")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
