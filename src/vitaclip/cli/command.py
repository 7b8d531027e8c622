"""What every command is: a dataclass whose fields are its settings and whose docstring is its help."""

from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Self, TypeVar, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from vitaclip.settings import Config

ConfigT = TypeVar("ConfigT")
RECIPE_HELP = "a recipe, whose names `vitaclip list recipes` shows, or a YAML file; may stand first"


def argument(default: Any = MISSING, *, positional: bool = False, **argparse: Any) -> Any:
    """A field of a command about which argparse is told more than its type: `nargs`, `action`, `choices`. A
    field without a default needs none of it to be positional."""
    return field(default=default, metadata={"positional": positional, "argparse": argparse})


@dataclass(frozen=True, kw_only=True)
class Command(Config):
    """The settings of a command and what it does; configs inside it are groups such as `--data.workers`."""

    takes_recipe: ClassVar[bool] = False
    """Whether `--config` fills its settings from a YAML file."""
    shown: ClassVar[tuple[str, ...]] = ()
    """Settings that `--help` shows. Empty: all."""
    kept: ClassVar[Mapping[str, Collection[str]]] = {}
    """Of a config inside it, the settings that this command reads, where it does not read all."""
    unread: ClassVar[Collection[str]] = ()
    """Settings of the class it builds on that this command does not read, and so does not take."""

    @abstractmethod
    def run(self) -> int:
        """Do the work, print what came of it, and return the exit status."""

    @classmethod
    def add_arguments(cls, parser: ArgumentParser, texts: Mapping[str, str]) -> None:
        """Put the settings on a parser; jsonargparse takes types, defaults and help from the fields, but for those of
        which it is told more: their help is in `texts`."""
        if cls.takes_recipe:
            parser.add_argument("--config", action="config", help=RECIPE_HELP)
        hints = get_type_hints(cls)
        told = [each for each in cls._taken() if each.metadata or each.default is each.default_factory]
        groups = [each.name for each in fields(cls) if is_dataclass(hints[each.name])]
        for each in told:
            name, more = each.name, dict(each.metadata.get("argparse", {}))
            if hints[name] is not bool:
                more["type"] = get_args(hints[name])[0] if get_origin(hints[name]) is tuple else hints[name]
            if each.default is not MISSING:
                more["default"] = [*each.default] if isinstance(each.default, tuple) else each.default
            parser.add_argument(
                name if each.metadata.get("positional", True) else f"--{name}", help=texts.get(name), **more
            )
        parser.add_class_arguments(cls, as_group=False, skip={*groups, *cls.unread, *(each.name for each in told)})
        for name in groups:
            every = {each.name for each in fields(hints[name])}
            parser.add_class_arguments(hints[name], name, skip=every - {*cls.kept.get(name, every)})

    @classmethod
    def _taken(cls) -> list[Field[Any]]:
        return [each for each in fields(cls) if each.name not in cls.unread]

    @classmethod
    def from_arguments(cls, arguments: Namespace) -> Self:
        """The command as it was asked for."""
        given = {each.name: arguments[each.name] for each in cls._taken()}
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})

    def as_config(self, cls: type[ConfigT]) -> ConfigT:
        """The config that this command has the fields of, without those that are the command's own."""
        return cls(**{each.name: getattr(self, each.name) for each in fields(cls)})  # type: ignore[arg-type]
