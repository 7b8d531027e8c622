"""`vitaclip classes`: commands about one's own class names, each in a file of its own."""

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.classes import check
from vitaclip.cli.parser import add_commands

HELP = "what may be wrong with class names"
DESCRIPTION = """\
Look at class names before any video.

examples:
  vitaclip classes check names.txt"""

COMMANDS = {"check": check}


def add_arguments(parser: ArgumentParser) -> None:
    """The commands of the group."""
    add_commands(parser, COMMANDS)


def run(arguments: Namespace) -> int:
    """Run the one that was asked for."""
    return COMMANDS[arguments.command].run(arguments[arguments.command])
