"""The videos of a data set and their classes, with what is wrong with them."""

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitaclip.data.labels import Labels
from vitaclip.data.reading.container import VIDEO_SUFFIXES
from vitaclip.data.reading.frame_folder import is_frame_folder
from vitaclip.data.reading.member import VideoPath
from vitaclip.strings import first_lines


@dataclass(frozen=True)
class VideoSample:
    """One video of a data set."""

    path: VideoPath
    """The file, or the member of a tar file."""
    labels: Labels
    """Indices of its classes."""
    source: str
    """Where it is listed, for messages: `list.csv:17`."""

    @property
    def label(self) -> int:
        """The class of a video that has one."""
        (label,) = self.labels
        return label


@dataclass(frozen=True)
class VideoList:
    """Videos and the names of their classes; label n is `class_names[n]`."""

    samples: tuple[VideoSample, ...]
    class_names: tuple[str, ...] = ()
    """Empty where only numbers are known."""
    note: str = ""
    """What the user should know of the labels; empty: nothing."""
    problems: tuple[str, ...] = ()
    """What is wrong with lines and videos that are not among the samples, a line each."""

    def checked(self, where: str, *, keep_absent: bool = False) -> "VideoList":
        """The list itself, if nothing is wrong with its lines and files.

        Args:
            where: what the list is, for the message.
            keep_absent: let videos stay whose file is missing or empty, unless all are: who reads them skips them.

        Raises:
            ValueError: with all that is wrong, the first ten problems shown.
        """
        absent = [problem for _, problem in file_problems(self.samples)]
        kept = keep_absent and len(absent) < len(self.samples)
        raise_problems([*self.problems, *([] if kept else absent)], where, self.note)
        return self


def file_problems(samples: Sequence[VideoSample]) -> list[tuple[VideoSample, str]]:
    """What is wrong with the files of the samples, in their order."""
    problems = ((each, _file_problem(each.path)) for each in samples if isinstance(each.path, Path))
    return [(each, f"{each.source}: {each.path} {problem}") for each, problem in problems if problem]


def _file_problem(path: Path) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        if "\\" in str(path):
            return "is not there, and has backslashes, as Windows writes paths; write / and give the folder as the root"
        return f"cannot be read ({getattr(error, 'strerror', error)}); check the path and the root"
    if stat.S_ISDIR(status.st_mode):
        return "" if is_frame_folder(path) else "is a folder; name a video file, or a folder of numbered pictures"
    return "is empty (0 bytes); copy it again or remove the line" if status.st_size == 0 else ""


def raise_problems(problems: Sequence[str], where: str, note: str = "") -> None:
    """Raise ValueError with the first problems, if there are any, and a note that may explain them."""
    if problems:
        heading = f"{where}: {len(problems)} problem{'s' if len(problems) > 1 else ''} found"
        raise ValueError("\n".join([heading, *first_lines(problems), *([note] if note else [])]))


def is_video_name(path: Path) -> bool:
    """Whether a file of a folder counts as a video: by its ending, and not hidden."""
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith(".") and path.is_file()
