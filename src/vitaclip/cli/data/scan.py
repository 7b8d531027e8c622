"""`vitaclip data scan`."""

from collections import Counter
from itertools import chain
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.data import add_list_arguments
from vitaclip.cli.models import check_outputs
from vitaclip.cli.parser import as_dataclass
from vitaclip.cli.screen import print_table, terminal, track
from vitaclip.data.lists.class_names import choose_classes
from vitaclip.data.tools.scan import BadVideo, ScanConfig, find_targets, scan_videos, write_scan

DESCRIPTION = """\
Open every video and decode its first, middle and last frame, on all cores. A file that hangs the codec is stopped after
--time_limit_seconds, one that crashes it costs one process: either is named, and the others go on. With --out, write
clean.csv, a list of the good ones, and bad.csv with what is wrong with each of the others. Exit status 1: some are bad.

examples:
  vitaclip data scan train.csv --out scanned
  vitaclip data scan lists/k400/val.csv --classes kinetics400 --out scanned
  vitaclip data scan my_videos/ --time_limit_seconds 20"""


def add_arguments(parser: ArgumentParser) -> None:
    """Videos, how their list is to be read, and how they are checked."""
    parser.add_argument("videos", help="a list file, a folder that is searched at any depth, or tar files")
    add_list_arguments(parser)
    parser.add_argument("--out", type=str, default="", help="folder for clean.csv and bad.csv")
    parser.add_class_arguments(ScanConfig)


def run(arguments: Namespace) -> int:
    """Check and print; 1 if something is bad."""
    if arguments.out:
        check_outputs(arguments, *(str(Path(arguments.out) / name) for name in ("bad.csv", "clean.csv")))
    names = choose_classes(arguments.classes) if arguments.classes else None
    targets, bad_at_sight = find_targets(arguments.videos, arguments.root or None, names)
    console = terminal(stderr=True)
    found = track(scan_videos([*targets], as_dataclass(ScanConfig, arguments)), "checking", len(targets), console)
    bad: list[BadVideo] = []
    for each in chain(bad_at_sight, found):
        if each is not None:
            console.print(f"bad: {each.problem}", style="yellow", soft_wrap=True)
            bad.append(each)
    if arguments.out:
        write_scan(targets, bad, arguments.out)
    kinds = Counter(each.kind for each in bad)
    good = len(targets) + len(bad_at_sight) - len(bad)
    rows = [("good", str(good)), *((f"bad: {kind}", str(count)) for kind, count in kinds.items())]
    print_table(terminal(), arguments.videos, ("videos", ""), rows)
    return 1 if bad else 0
