"""`vitaclip data resize`."""

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.parser import as_dataclass
from vitaclip.cli.screen import print_table, terminal, track
from vitaclip.data.tools.resize import ResizeConfig, find_copies, make_copies

DESCRIPTION = """\
Shrink all videos below a folder, on all cores: H.264 in mp4, key frames close together, turned as they are to be
shown, every frame at its time, no sound. Copies keep their place in the folder. A run that was stopped goes on: copies
that are there are finished. What cannot be shrunk is named, and the exit status is 1.

examples:
  vitaclip data resize k400/videos k400/videos_256
  vitaclip data resize k400/videos k400/videos_320 --short_side 320 --workers 8"""


def add_arguments(parser: ArgumentParser) -> None:
    """From where, to where, and how."""
    parser.add_argument("source", help="folder of the videos, searched at any depth")
    parser.add_argument("target", help="folder for the copies")
    parser.add_class_arguments(ResizeConfig)


def run(arguments: Namespace) -> int:
    """Shrink and count; 1 if some failed."""
    config = as_dataclass(ResizeConfig, arguments)
    copies = find_copies(arguments.source, arguments.target, config)
    waiting = {video: copy for video, copy in copies.items() if not copy.exists()}
    console, shrunk = terminal(stderr=True), []
    for outcome in track(make_copies(waiting, arguments.target, config), "shrinking", len(waiting), console):
        if outcome.error:
            console.print(f"failed: {outcome.problem}", style="yellow", soft_wrap=True)
        else:
            shrunk.append(outcome.item)
    rows = [
        ("shrunk", str(len(shrunk))),
        ("there already", str(len(copies) - len(waiting))),
        ("failed", str(len(waiting) - len(shrunk))),
        ("megabytes before", f"{sum(video.stat().st_size for video in shrunk) / 1e6:.1f}"),
        ("megabytes after", f"{sum(copies[video].stat().st_size for video in shrunk) / 1e6:.1f}"),
    ]
    print_table(terminal(), arguments.target, ("videos", ""), rows)
    return int(len(shrunk) < len(waiting))
