"""Rows whose video hung or ended the process that read it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from vitaclip.data.lists.rows import VideoRow
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.workers.worker import Lost, Mark
from vitaclip.files import one_line


@contextmanager
def as_video_error(path: str | VideoPath) -> Iterator[None]:
    """Turn whatever reading a video fails with into a VideoError that names the video.

    Decoders, Pillow, numpy and torch raise errors of every kind for files that nobody thought of, MemoryError among
    them. The file is at fault, so the file alone is passed over.
    """
    try:
        yield
    except VideoError:
        raise
    except Exception as error:
        reason = one_line(error) or "no more is known"
        raise VideoError(f"{path} cannot be read ({type(error).__name__}: {reason}): leave it out") from error


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
            VideoError: it is known to be deadly, or the block fails in any way.
        """
        if row in self.deadly:
            raise VideoError(self.deadly[row])
        with as_video_error(self._rows[row].path), self.mark.at(row) if self.mark else nullcontext():
            yield

    def blame(self, row: int, lost: Lost) -> None:
        """Puts the video of a row, which a lost process was reading, among the deadly ones."""
        remedy = "raise time_limit_seconds" if lost.late else "use fewer workers if memory is short"
        self.deadly[row] = f"{self._rows[row].path} {lost.problem}: leave it out, or {remedy}"
