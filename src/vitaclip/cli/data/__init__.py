"""`vitaclip data`: commands about data sets, each in a file of its own."""

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.data import classes, prepare, protocols, resize, scan, shard, templates
from vitaclip.cli.parser import add_commands

HELP = "data sets: class names, templates and protocols, and making lists, checking, shrinking and packing"
DESCRIPTION = """\
Class names, their wording, text templates and protocols of the standard data sets; and the way from a downloaded data
set to checked lists.

examples:
  vitaclip data classes
  vitaclip data classes ucf101 --prompts
  vitaclip data templates clip28
  vitaclip data protocols
  vitaclip data prepare ucf101 --root UCF-101 --annotations ucfTrainTestlist --out lists/ucf101
  vitaclip data scan lists/ucf101/train1.csv --classes ucf101 --out scanned
  vitaclip data resize UCF-101 UCF-101_small --short_side 128
  vitaclip data shard lists/ucf101/train1.csv --classes ucf101 --out shards/train1"""

COMMANDS = {
    "classes": classes,
    "templates": templates,
    "protocols": protocols,
    "prepare": prepare,
    "scan": scan,
    "resize": resize,
    "shard": shard,
}


def add_arguments(parser: ArgumentParser) -> None:
    """The commands of the group."""
    add_commands(parser, COMMANDS)


def run(arguments: Namespace) -> int:
    """Run the one that was asked for."""
    return COMMANDS[arguments.command].run(arguments[arguments.command])
