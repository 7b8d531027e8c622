"""`vitaclip data prepare`."""

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.screen import print_table, terminal
from vitaclip.data.prepare.annotations import DATASETS
from vitaclip.data.prepare.preparing import prepare_dataset, write_preparation

DESCRIPTION = """\
Read the official annotations of a data set, find the videos, and write one list for each part (train, val, test; for
UCF101 and HMDB51 train1 ... test3). Videos are searched at any depth below --root: in class folders with
blanks or underscores, or in one flat folder, with any video ending, and for Kinetics with or without the times in the
name. Classes are joined by name. --out also holds classes.txt (for --classes), missing.txt, duplicates.txt, leaks.txt
(one video in two lists that must not share any) and counts.csv (per class).

examples:
  vitaclip data prepare kinetics400 --root k400/videos --annotations k400/annotations --out lists/k400
  vitaclip data prepare ucf101 --root UCF-101 --annotations ucfTrainTestlist --out lists/ucf101
  vitaclip data prepare hmdb51 --root hmdb51 --annotations testTrainMulti_7030_splits --out lists/hmdb51
  vitaclip data prepare ssv2 --root 20bn-something-something-v2 --annotations labels --out lists/ssv2"""


def add_arguments(parser: ArgumentParser) -> None:
    """Which data set, and where everything lies."""
    parser.add_argument("dataset", help=", ".join(DATASETS))
    parser.add_argument("--root", type=str, required=True, help="folder of the videos")
    parser.add_argument(
        "--annotations", type=str, required=True, help="folder of the official annotation files; Kinetics: or a csv"
    )
    parser.add_argument("--out", type=str, required=True, help="new folder for the lists")


def run(arguments: Namespace) -> int:
    """Join, write, and say what was found."""
    preparation = prepare_dataset(arguments.dataset, arguments.root, arguments.annotations)
    write_preparation(preparation, arguments.out)
    console = terminal()
    headings = ("list", "annotated", "found", "missing", "listed twice")
    rows = [(name, *map(str, count)) for name, count in preparation.count_by("list_name").items()]
    print_table(console, f"{arguments.dataset}: lists in {arguments.out}", headings, rows)
    names = preparation.annotations.classes.names
    absent = len(names) - sum(count.found > 0 for count in preparation.count_by("class_name").values())
    if absent:
        console.print(f"{absent} of {len(names)} classes have no video, see counts.csv", style="yellow")
    for note in preparation.annotations.notes:
        console.print(note)
    if preparation.leaks:
        console.print(f"{len(preparation.leaks)} leaks between lists, see leaks.txt", style="yellow")
    return 0
