"""`vitaclip data`: commands about data sets, each in a file of its own."""

from importlib import import_module

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.parser import add_commands

DESCRIPTION = """\
The way from a downloaded data set to checked lists, small copies and tar files.

examples:
  vitaclip data prepare ucf101 --root UCF-101 --annotations ucfTrainTestlist --out lists/ucf101
  vitaclip data scan lists/ucf101/train1.csv --classes ucf101 --out scanned
  vitaclip data resize UCF-101 UCF-101_small --short_side 128
  vitaclip data shard lists/ucf101/train1.csv --classes ucf101 --out shards/train1"""

COMMANDS = {
    "prepare": (
        "vitaclip.cli.data.prepare",
        "lists of a standard data set, from its annotations and the files that are there",
    ),
    "scan": ("vitaclip.cli.data.scan", "which videos of a list or folder can be read"),
    "resize": ("vitaclip.cli.data.resize", "a smaller copy of a folder of videos, quicker to train from"),
    "shard": ("vitaclip.cli.data.shard", "pack videos into tar files, for storages that many machines read from"),
}


def add_arguments(parser: ArgumentParser) -> None:
    """The commands of the group."""
    add_commands(parser, COMMANDS)


def add_list_arguments(parser: ArgumentParser) -> None:
    """How a command is told to read a list: `--root` and `--classes`."""
    parser.add_argument("--root", type=str, default="", help="folder that paths in the list are relative to")
    help = "class names, where labels of the list are names: as `vitaclip eval` takes them"
    parser.add_argument("--classes", type=str, default="", help=help)


def run(arguments: Namespace) -> int:
    """Run the one that was asked for."""
    status: int = import_module(COMMANDS[arguments.command][0]).run(arguments[arguments.command])
    return status
