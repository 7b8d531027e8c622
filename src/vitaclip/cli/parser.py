"""A parser whose errors are one line with a remedy, and whose help is short until all of it is asked for."""

import argparse
import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn, TypeVar

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from vitaclip.recipes import RECIPES, VIEWS
from vitaclip.untrusted import read_yaml

ConfigT = TypeVar("ConfigT")

# The help of a field is the text below it in its dataclass.
set_parsing_settings(docstring_parse_attribute_docstrings=True)

_SHORT_EXAMPLES = 2
_ALWAYS_SHOWN = ("help", "help_all")


class UsageError(ValueError):
    """The command line, or a config file named on it, is wrong."""


class HelpFormatter(DefaultHelpFormatter):
    """Keeps the line breaks of descriptions."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        del width
        return "".join(indent + line for line in text.splitlines(keepends=True))

    def _get_type_str(self, action: argparse.Action) -> str | None:
        text = super()._get_type_str(action)
        text = text and re.sub(r"Annotated\[(\w+(?:\[\w+, \.\.\.\])?), ((?:at|above|below) [^\[\]]*)\]", r"\1 \2", text)
        return text and re.sub(r"Annotated\[(\w+(?:\[\w+, \.\.\.\])?), [^\[\]]*\]", r"\1", text)


class _HelpAll(argparse.Action):
    """`--help-all`: the help with every setting."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        assert isinstance(parser, CommandParser)
        parser.shown = ()
        parser.print_help()
        parser.exit()


class CommandParser(ArgumentParser):
    """Raises UsageError instead of printing a page of usage and leaving."""

    shown: Sequence[str] = ()
    """Settings that `--help` shows; empty: all."""
    examples: Sequence[str] = ()
    """Lines that the help starts with."""

    def describe(self, command: Any) -> None:
        """Take description, examples and the settings to be shown from the module of a command."""
        self.description, _, examples = command.DESCRIPTION.partition("\n\nexamples:\n")
        self.examples = re.findall(r"^  vitaclip .*(?:\\\n.*)*", examples, re.MULTILINE)
        self.shown = getattr(command, "SHOWN_SETTINGS", ())
        if self.shown:
            texts: dict[str, Any] = {"default": argparse.SUPPRESS, "help": "show every setting"}
            self.add_argument("--help-all", "--help_all", action=_HelpAll, nargs=0, **texts)

    def format_help(self, *formatter: Any) -> str:
        """Examples, then the usual help with the settings that are shown."""
        for action in self._actions:
            if self.shown and action.option_strings and action.dest not in (*self.shown, *_ALWAYS_SHOWN):
                action.help = argparse.SUPPRESS
        text = super().format_help(*formatter)
        examples = self.examples[:_SHORT_EXAMPLES] if self.shown else self.examples
        return "\n".join(["examples:", *examples, "", text]) if examples else text

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message as one line."""
        del ex
        message = " ".join(message.split())
        # Missing arguments of a command are named by their own names: `data.scan.videos` is `videos` there.
        command = re.search(r"arguments are required: ([\w.]+)\.", message)
        text = message.replace(f"{command[1]}.", "") if command else message
        prog = " ".join([self.prog.replace(" [options]", ""), *(command[1].split(".") if command else [])])
        raise UsageError(f"{text}{self._suggestion(text)} (see: {prog} --help)")

    def _suggestion(self, message: str) -> str:
        """`; did you mean x?` for an option that nearly exists."""
        wrong = re.search(r"(?:option|key|argument)s?:? [\"'-]+([\w.]+)", message)
        known = [option.lstrip("-") for action in self._actions for option in action.option_strings]
        close = difflib.get_close_matches(wrong[1], known, n=1) if wrong else []
        return f"; did you mean {close[0]}?" if close and wrong and close[0] != wrong[1] else ""


def add_commands(parser: ArgumentParser, commands: Mapping[str, tuple[str, str]], wanted: str | None = None) -> None:
    """Put commands below a parser.

    Args:
        parser: of the program, or of a group of commands.
        commands: the module of each, with DESCRIPTION, `add_arguments` and `run`, and its help in a line.
        wanted: the only one whose module is imported, because that takes seconds; the others are known by their names.
            None: all.
    """
    subcommands = parser.add_subcommands(dest="command", required=True, metavar="COMMAND")
    for name, (module, text) in commands.items():
        sub = CommandParser(formatter_class=HelpFormatter, allow_abbrev=False)
        subcommands.add_subcommand(name, sub, help=text)
        if wanted in (None, name):
            command = import_module(module)
            sub.describe(command)
            command.add_arguments(sub)  # after it has its place: groups of commands are added from the outside in


def as_dataclass(cls: type[ConfigT], arguments: Namespace) -> ConfigT:
    """The fields of a dataclass that stand flat among a command's arguments."""
    fields: Any = dataclasses.fields(cls)  # type: ignore[arg-type]
    return cls(**{field.name: arguments[field.name] for field in fields})


RECIPE_HELP = "a recipe, whose names `vitaclip list recipes` shows, or a YAML file; may stand first"
_NAMED = {"--config": RECIPES, "--views": VIEWS}
"""Options that take a YAML file, or the name of one that comes with the package."""
ALIASES = {"--classes": "--data.classes", "--root": "--data.root", "--workers": "--data.workers"}
"""Short names of settings; `data` commands have these settings under the short name alone."""
_WITH_ALIASES = ("train", "ablate", "eval", "predict", "explain")


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
