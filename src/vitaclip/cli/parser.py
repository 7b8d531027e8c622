"""A parser whose errors are one line with a remedy, and whose help is short until all of it is asked for."""

import argparse
import inspect
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter, set_parsing_settings

from vitaclip.cli.command import Command
from vitaclip.recipes import RECIPES, VIEWS
from vitaclip.settings import setting_texts
from vitaclip.strings import did_you_mean
from vitaclip.untrusted import read_yaml

_SHORT_EXAMPLES = 2
HELP_ALL = "--help_all"
Helps = Literal["", "short", "all"]
"""How much help a parser can print. None takes least time: the texts of settings are found by parsing source code."""
CommandTable = Mapping[str, "tuple[str | CommandTable, str]"]
"""Of each command: `module:class`, or the commands of a group; and its help in a line."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the line breaks of descriptions, and says bounds of numbers in words."""

    def _get_type_str(self, action: argparse.Action) -> str | None:
        text = None if action.choices else super()._get_type_str(action)
        text = text and re.sub(r"Annotated\[(\w+(?:\[\w+, \.\.\.\])?), ((?:at|above|below) [^\[\]]*)\]", r"\1 \2", text)
        return text and re.sub(r"Annotated\[(\w+(?:\[\w+, \.\.\.\])?), [^\[\]]*\]", r"\1", text)


class CommandParser(ArgumentParser):
    """Raises ValueError instead of printing a page of usage and leaving."""

    shown: Sequence[str] = ()
    """Settings that the help shows; empty: all."""
    examples: Sequence[str] = ()
    """Lines that the help starts with."""

    def add_command(self, command: type[Command], helps: Helps) -> None:
        """Take description, examples and settings from a command; its short help shows the settings that it names."""
        self.description, _, examples = inspect.cleandoc(command.__doc__ or "").partition("\n\nexamples:\n")
        self.examples = re.findall(r"^  vitaclip .*(?:\\\n.*)*", examples, re.MULTILINE)
        # The help of a field is the text below it in its dataclass.
        set_parsing_settings(docstring_parse_attribute_docstrings=bool(helps))
        command.add_arguments(self, {text[0]: text[2] for text in setting_texts(command)} if helps else {})
        if command.shown and helps != "all":
            self.shown, self.examples = ("help", *command.shown), self.examples[:_SHORT_EXAMPLES]
            self.epilog = "--help-all shows every setting and example"

    def format_help(self, *formatter: Any) -> str:
        """Examples, then the usual help with the settings that are shown."""
        for action in self._actions:
            if self.shown and action.option_strings and action.dest not in self.shown:
                action.help = argparse.SUPPRESS
        text = super().format_help(*formatter)
        return "\n".join(["examples:", *self.examples, "", text]) if self.examples else text

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message as one line."""
        del ex
        message = " ".join(message.split())
        # Missing arguments of a command are named by their own names: `data.scan.videos` is `videos` there.
        command = re.search(r"arguments are required: ([\w.]+)\.", message)
        text = message.replace(f"{command[1]}.", "") if command else message
        prog = " ".join([self.prog.replace(" [options]", ""), *(command[1].split(".") if command else [])])
        raise ValueError(f"{text}{self._suggestion(text)} (see: {prog} --help)")

    def _suggestion(self, message: str) -> str:
        """A hint for an option, or one of some choices, that nearly exists."""
        wrong = re.search(r"(?:option|key|argument)s?:? [\"'-]+([\w.]+)", message)
        known = [option.lstrip("-") for action in self._actions for option in action.option_strings]
        if choice := re.search(r"invalid choice: '([^']+)' \(choose from (.+?)\)", message):
            wrong, known = choice, re.findall(r"[\w-]+", choice[2])
        return did_you_mean(wrong[1], known) if wrong and wrong[1] not in known else ""


def find_command(table: CommandTable, names: Sequence[str]) -> type[Command]:
    """The class of a command, whose module is imported now."""
    found = table[names[0]][0]
    if not isinstance(found, str):
        return find_command(found, names[1:])
    module, _, name = found.partition(":")
    command: type[Command] = getattr(import_module(module), name)
    return command


def add_commands(parser: ArgumentParser, table: CommandTable, wanted: str | None, helps: Helps = "short") -> list[str]:
    """Put commands below a parser.

    Args:
        parser: of the program, or of a group of commands.
        table: the commands.
        wanted: the only one whose module is imported, because that takes seconds; the others are known by their names.
            None: all.
        helps: how much help its settings have.

    Returns:
        An example of each whose module was imported.
    """
    examples = list[str]()
    subcommands = parser.add_subcommands(dest="command", required=True, metavar="COMMAND")
    for name, (inside, text) in table.items():
        sub = CommandParser(formatter_class=HelpFormatter, allow_abbrev=False)
        subcommands.add_subcommand(name, sub, help=text)
        if wanted not in (None, name):
            continue
        if isinstance(inside, str):
            sub.add_command(find_command(table, [name]), helps)
        else:
            sub.description, sub.examples = text, add_commands(sub, inside, None, helps)
        examples += sub.examples[:1]
    return examples


_NAMED = {"--config": RECIPES, "--views": VIEWS}
"""Options that take a YAML file, or the name of one that comes with the package."""
ALIASES = {"--classes": "--data.classes", "--root": "--data.root", "--workers": "--data.workers"}
"""Short names of settings; `data` commands have these settings under the short name alone."""
_WITH_ALIASES = ("train", "ablate", "eval", "predict", "embed", "index", "search", "moments", "explain", "mcp")


def normalize(arguments: Sequence[str]) -> list[str]:
    """The command line as the parsers know it.

    Hyphens in the names of options become underscores, short names become dotted ones, and names of recipes behind
    `--config` and `--views` become paths of YAML files. `train NAME` is `train --config NAME`; so of `ablate`.

    Raises:
        ValueError: if there is neither a file nor a recipe of that name.

    >>> normalize(["eval", "val/", "--data.on-error=raise", "--workers", "0"])
    ['eval', 'val/', '--data.on_error=raise', '--data.workers', '0']
    """
    words, resolved = list(arguments), list[str]()
    if len(words) > 1 and words[0] in ("train", "ablate") and not words[1].startswith("-"):
        words.insert(1, "--config")
    aliases = ALIASES if words and words[0] in _WITH_ALIASES else {}
    for word in words:
        option, equals, value = word.partition("=")
        if option.startswith("--"):
            option = option[:2] + option[2:].replace("-", "_")
            option = aliases.get(option, option)
            resolved.append(f"{option}{equals}{_find(option, value) if equals else ''}")
        else:
            resolved.append(_find(resolved[-1], word) if resolved else word)
    return resolved


def _find(option: str, value: str) -> str:
    """The YAML file that an option means, read once in bounds, because jsonargparse writes all aliases out."""
    if option not in _NAMED:
        return value
    file = _NAMED[option].find(value)
    read_yaml(file)
    return str(file)
