"""Parts, families of weights, data sets and losses from outside the package.

A plugin is a Python file that registers what it brings when it is imported. Files are named by `--plugins` or by
VITACLIP_PLUGINS. What a process was given is in its environment, so that processes it starts know the same. Nothing
that is loaded, such as a model folder, ever names a plugin: only the user does.
"""

import argparse
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from vitaclip.strings import one_line

ENVIRONMENT = "VITACLIP_PLUGINS"
_loaded: set[str] = set()


def use_plugins(files: Sequence[str | Path]) -> None:
    """Import plugins, in this process and in those that it starts.

    Raises:
        ValueError: if a file is not there or does not import.

    >>> use_plugins(["my_parts.py"])  # doctest: +SKIP
    """
    known = [name for name in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if name]
    os.environ[ENVIRONMENT] = os.pathsep.join(dict.fromkeys([*known, *(str(Path(file).resolve()) for file in files)]))
    load_plugins()


def load_plugins() -> None:
    """Import what the environment names, each once. Registries call this before they are read.

    Raises:
        ValueError: if one does not import.
    """
    for name in filter(None, os.environ.get(ENVIRONMENT, "").split(os.pathsep)):
        _once(f"--plugins {name}", lambda name=name: _import_file(Path(name)))  # type: ignore[misc]


def import_registered(package: str) -> None:
    """Import every module of a package, and the plugins, so that whatever registers itself in them is known."""
    _import_modules(package)
    load_plugins()


def take_plugins(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments of a command line without `--plugins FILE`, wherever it stands, and these files."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--plugins", action="append", default=[])
    try:
        taken, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ValueError("--plugins: name a Python file, such as --plugins my_parts.py") from error
    return rest, taken.plugins


@cache
def _import_modules(package: str) -> None:
    for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
        import_module(module.name)


def _once(what: str, load: Callable[[], object]) -> None:
    if what in _loaded:
        return
    _loaded.add(what)  # first: what a plugin imports asks for plugins too
    try:
        load()
    except Exception as error:
        _loaded.discard(what)
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ValueError(f"{what}: does not import ({reason}); mend it or leave it out") from error


def _import_file(file: Path) -> None:
    name = f"vitaclip_plugin_{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
