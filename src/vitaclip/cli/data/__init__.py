"""`vitaclip data`: commands about data sets, each in a file of its own."""

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.data import classes, protocols, templates
from vitaclip.cli.parser import add_commands

HELP = "what is known of data sets: class names, wording, templates, protocols"
DESCRIPTION = """\
Class names, their wording and text templates of the standard data sets, and protocols of the literature.

examples:
  vitaclip data classes
  vitaclip data classes ucf101 --prompts
  vitaclip data templates clip28
  vitaclip data protocols"""

COMMANDS = {"classes": classes, "protocols": protocols, "templates": templates}


def add_arguments(parser: ArgumentParser) -> None:
    """The commands of the group."""
    add_commands(parser, COMMANDS)


def run(arguments: Namespace) -> int:
    """Run the one that was asked for."""
    return COMMANDS[arguments.command].run(arguments[arguments.command])
