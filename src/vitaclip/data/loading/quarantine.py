"""Rows whose video hung or ended the process that read it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.workers.worker import Heartbeat, WorkerFailure
from vitaclip.files import first_line


@contextmanager
def as_video_error(path: VideoPath) -> Iterator[None]:
    """Turn whatever reading a video fails with into a VideoError that names the video.

    Decoders, Pillow, numpy and torch raise errors of every kind for files that nobody thought of, MemoryError among
    them. The file is at fault, so the file alone is passed over.
    """
    try:
        yield
    except VideoError:
        raise
    except Exception as error:
        reason = first_line(error) or "no more is known"
        raise VideoError(f"{path} cannot be read ({type(error).__name__}: {reason}): leave it out") from error


class Quarantine:
    """The videos of a data set that hung or killed the worker that read them. They are refused from then on, so that
    such a file costs the time limit, or a worker, once and not in every epoch.
    """

    def __init__(self, rows: Sequence[VideoSample]) -> None:
        self._rows = rows
        self.reasons: dict[int, str] = {}
        """What is wrong with a row's video, by the index of the row."""
        self.heartbeat: Heartbeat | None = None
        """Tells the main process which video this worker is reading; None in the main process."""

    @contextmanager
    def reading(self, row: int) -> Iterator[None]:
        """The video of a row is read while the block runs.

        Raises:
            VideoError: it is in quarantine, or the block fails in any way.
        """
        if row in self.reasons:
            raise VideoError(self.reasons[row])
        with as_video_error(self._rows[row].path), self.heartbeat.at(row) if self.heartbeat else nullcontext():
            yield

    def add(self, row: int, failure: WorkerFailure) -> None:
        """Add the video of a row, which a process was reading when it failed."""
        remedy = "raise time_limit_seconds" if failure.late else "use fewer workers if memory is short"
        self.reasons[row] = f"{self._rows[row].path} {failure.problem}: leave it out, or {remedy}"
