"""`vitaclip eval --frames_curve`: its numbers of frames, and the tables it prints."""

from vitaclip.cli.screen import print_table, terminal
from vitaclip.evaluate.frames_curve import FramesCurve
from vitaclip.evaluate.protocol_run import ProtocolResult

MOST_FRAMES = 1000
"""A clip has all its frames in memory at once, and so has what the model makes of them."""


def read_frames(given: str) -> tuple[int, ...]:
    """The numbers of `--frames_curve`; none if it is not given.

    Raises:
        ValueError: for anything but numbers from 1 to `MOST_FRAMES` with commas between.
    """
    parts = [part.strip() for part in given.split(",")] if given else []
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ValueError(f"--frames_curve {given}: give numbers of frames with commas between, such as 1,2,4,8,16")
    if wrong := [part for part in parts if int(part) > MOST_FRAMES]:
        raise ValueError(
            f"--frames_curve {given}: {wrong[0]} frames a clip are more than {MOST_FRAMES:,}, and all frames of a clip"
            " are in memory at once; give smaller numbers"
        )
    return tuple(sorted({int(part) for part in parts}))


def print_frames_curve(curve: FramesCurve) -> None:
    """A row for each number of frames."""
    console = terminal()
    rows = []
    for point in curve.points:
        difference = f"{100 * point.difference:+.1f} ± {100 * point.standard_error:.1f}"
        rows.append((str(point.frames), f"{point.top1:.2%}", "" if point.frames == curve.reference else difference))
    title = f"frames a clip, on the same {curve.num_videos:,} videos (± paired standard error)"
    print_table(console, title, ("frames", "top-1", f"points from {curve.reference}"), rows)


def print_protocol_frames(result: ProtocolResult) -> None:
    """Top-1 of every part by the number of frames, and of the summary."""
    rows = []
    for part in result.parts:
        curve = part.frames_curve.top1 if part.frames_curve else {}
        shares = [f"{curve[frames]:.2%}" for frames in result.frames_summary]
        rows.append((part.title, *shares))
    for name in result.summary:
        rows.append((name, *(f"{summary[name]:.2%}" for summary in result.frames_summary.values())))
    headings = ("part", *(f"{frames} frames" for frames in result.frames_summary))
    print_table(terminal(), "top-1 by frames a clip", headings, rows)
