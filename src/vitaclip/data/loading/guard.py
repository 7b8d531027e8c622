"""Rows whose video hung or ended the process that read it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from vitaclip.data.lists.rows import VideoRow
from vitaclip.data.reading.container import VideoError
from vitaclip.data.workers.worker import Lost, Mark


class Guard:
    """Stands before each video of a data set: says which one is about to be read, and refuses those known to be deadly.

    So a file costs the time limit, or a process, once and not every epoch.
    """

    def __init__(self, rows: Sequence[VideoRow]) -> None:
        self._rows = rows
        self.deadly: dict[int, str] = {}
        """What is wrong with a row's video, by its number."""
        self.mark: Mark | None = None
        """Where a process that may be killed says what it reads."""

    @contextmanager
    def reading(self, row: int) -> Iterator[None]:
        """The video of a row is read while the block runs.

        Raises:
            VideoError: it is known to be deadly.
        """
        if row in self.deadly:
            raise VideoError(self.deadly[row])
        with self.mark.at(row) if self.mark else nullcontext():
            yield

    def blame(self, row: int, lost: Lost) -> None:
        """Puts the video of a row, which a lost process was reading, among the deadly ones."""
        remedy = "raise time_limit_seconds" if lost.late else "use fewer workers if memory is short"
        self.deadly[row] = f"{self._rows[row].path} {lost.problem}: leave it out, or {remedy}"
