"""A parser whose errors are one line with a remedy, and whose help keeps its examples."""

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from vitaclip.recipes import find_recipe, find_views
from vitaclip.untrusted import read_yaml

ConfigT = TypeVar("ConfigT")

# The help of a field is the text below it in its dataclass.
set_parsing_settings(docstring_parse_attribute_docstrings=True)


class UsageError(ValueError):
    """The command line, or a config file named on it, is wrong."""


class HelpFormatter(DefaultHelpFormatter):
    """Keeps the line breaks of descriptions, which hold examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        del width
        return "".join(indent + line for line in text.splitlines(keepends=True))


class CommandParser(ArgumentParser):
    """Raises UsageError instead of printing a page of usage and leaving."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message as one line."""
        del ex
        text, command = _without_command(" ".join(message.split()))
        prog = " ".join([self.prog.replace(" [options]", ""), *command])
        raise UsageError(f"{text}{self._suggestion(text)} (see: {prog} --help)")

    def _suggestion(self, message: str) -> str:
        """`; did you mean x?` for an option that nearly exists."""
        wrong = re.search(r"(?:option|key|argument)s?:? [\"'-]+([\w.]+)", message)
        known = [option.lstrip("-") for action in self._actions for option in action.option_strings]
        close = difflib.get_close_matches(wrong[1], known, n=1) if wrong else []
        return f"; did you mean {close[0]}?" if close and wrong and close[0] != wrong[1] else ""


def _without_command(message: str) -> tuple[str, list[str]]:
    """Missing arguments by their own names, and the command they belong to: `data.scan.videos` is `videos` there."""
    lead, required, names = message.partition("arguments are required: ")
    if not required:
        return message, []
    paths = [name.split(".") for name in names.split(", ")]
    return f"{lead}{required}{', '.join(path[-1] for path in paths)}", paths[0][:-1]


def add_commands(parser: ArgumentParser, commands: Mapping[str, Any], *, chosen: str | None = None) -> None:
    """Put commands below a parser: modules with HELP, DESCRIPTION and `add_arguments`.

    With one of them `chosen`, only that one gets its arguments: those of a model need torch, which takes a second.
    """
    subcommands = parser.add_subcommands(dest="command", required=True, metavar="COMMAND")
    for name, command in commands.items():
        sub = CommandParser(description=command.DESCRIPTION, formatter_class=HelpFormatter, allow_abbrev=False)
        subcommands.add_subcommand(name, sub, help=command.HELP)
        if chosen in (None, name):
            command.add_arguments(sub)  # after it has its place: groups of commands are added from the outside in


def as_dataclass(cls: type[ConfigT], arguments: Namespace) -> ConfigT:
    """The fields of a dataclass that stand flat among a command's arguments."""
    fields: Any = dataclasses.fields(cls)  # type: ignore[arg-type]
    return cls(**{field.name: arguments[field.name] for field in fields})


_NAMED = {"--config": find_recipe, "--views": find_views}
"""Options that take a YAML file, or the name of one that comes with the package."""


def _find(option: str, name_or_file: str) -> Path:
    """The YAML file that an option means, read once in bounds, because jsonargparse writes all aliases out."""
    file = _NAMED[option](name_or_file)
    read_yaml(file)
    return file


def name_recipes(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--config NAME` and `--views NAME` turned into paths of YAML files; files go first.

    `ablate NAME` is `ablate --config NAME`: an option that reads a file has no place of its own in the parser.

    Raises:
        ValueError: if there is neither a file nor a recipe of that name.
    """
    named = len(arguments) > 1 and arguments[0] == "ablate" and not arguments[1].startswith("-")
    resolved: list[str] = []
    for argument in [*arguments[:1], "--config", *arguments[1:]] if named else arguments:
        option, equals, value = argument.partition("=")
        if option in _NAMED and equals:
            resolved.append(f"{option}={_find(option, value)}")
        elif resolved and resolved[-1] in _NAMED:
            resolved.append(str(_find(resolved[-1], argument)))
        else:
            resolved.append(argument)
    return resolved
