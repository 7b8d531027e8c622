"""What the commands draw on the terminal: progress bars with rate and time left, tables, and errors."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from vitaclip.strings import printable

T = TypeVar("T")


class _Terminal(Console):
    """A console on which names of files and classes do no harm; every string, table cells too, becomes one line."""

    def render_str(self, text: str, **options: Any) -> Text:
        """The string with control characters as escapes; see `printable`."""
        return super().render_str(printable(text), **options)


def terminal(*, stderr: bool = False, quiet: bool = False) -> Console:
    """The terminal; names of users' files and classes are printed whole, brackets and all, but harmless."""
    return _Terminal(stderr=stderr, quiet=quiet, markup=False, highlight=False, emoji=False, soft_wrap=True)


def print_error(message: str, kind: str = "error") -> None:
    """Print what a user has to mend, or to know, on standard error.

    Further lines of a list of problems are indented, so that a line end inside a name cannot forge a message of ours.
    """
    print("\n  ".join(map(printable, f"vitaclip: {kind}: {message}".split("\n"))), file=sys.stderr)


def print_table(console: Console, title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table below its title, or the title alone if there are no rows; all columns but the first are right-aligned."""
    if title:
        console.print(title, style="bold")
    if not rows:
        return
    table = Table(header_style="bold")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table, soft_wrap=False)


class _RateColumn(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="progress.data.speed")


class _Bars(Progress):
    """Bars that are drawn once there is one, so that an error before is a line by itself."""

    def add_task(self, *given: Any, **options: Any) -> TaskID:
        self.start()
        return super().add_task(*given, **options)


@contextmanager
def progress_bars(console: Console) -> Iterator[Progress]:
    """Bars with count, rate, time taken and time left."""
    text = TextColumn("{task.description}", markup=False)
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    progress = _Bars(text, BarColumn(bar_width=10), MofNCompleteColumn(), _RateColumn(), *times, console=console)
    try:
        yield progress
    finally:
        if progress.tasks:
            progress.stop()


def track(items: Iterable[T], what: str, total: int | None, console: Console | None = None) -> Iterator[T]:
    """Yield the items under a bar, which moves by one for each that is done with; on standard error if no console is
    given. Lines that are printed meanwhile stand above the bar if they go to its own console."""
    with progress_bars(console or terminal(stderr=True)) as progress:
        yield from progress.track(items, total, description=what)


def counting_bar(progress: Progress, what: str, total: int) -> Callable[[int], None]:
    """A bar of `total` units; call the result with the number of units just done."""
    task = progress.add_task(what, total=total)
    return lambda done: progress.advance(task, done)


class TrainingBar:
    """A logger that moves a progress bar and shows the loss beside it; in a file it prints a line each time."""

    def __init__(self, progress: Progress, steps: int, done: int = 0, *, top5: bool = True) -> None:
        """`top5` is for more than five classes."""
        self._progress, self._steps = progress, steps
        self._shown = {"top-1": "val/top1", **({"top-5": "val/top5"} if top5 else {}), "mAP": "val/mAP"}
        self._task = progress.add_task("training", total=steps, completed=done)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Move to `step`; metrics of validation are printed on a line of their own."""
        console = self._progress.console
        if "train/loss" in metrics:
            loss = f"loss {metrics['train/loss']:.3f}"
            self._progress.update(self._task, completed=step, description=f"training, {loss}")
            if not console.is_terminal:  # a bar shows nothing in a file before it ends
                console.print(
                    f"step {step} of {self._steps}: {loss}, top-1 {metrics['train/top1']:.0%},"
                    f" {metrics['clips_per_second']:.1f} clips/s, waiting for data {metrics['data_wait_share']:.0%},"
                    f" memory {metrics['memory_gib']:.1f} GiB"
                )
        if "val/top1" in metrics:
            figures = ", ".join(f"{name} {metrics[key]:.1%}" for name, key in self._shown.items() if key in metrics)
            skipped = f", {metrics['val/skipped']:.0f} videos skipped" if metrics["val/skipped"] else ""
            console.print(f"step {step}: validation {figures}{skipped}")

    def close(self) -> None:
        """The bar closes with its progress display."""
