"""Training recipes, and the ways of testing of the literature, that come with the package, as YAML files."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from vitaclip.config import TrainConfig, ViewsConfig, from_dict
from vitaclip.untrusted import read_yaml

FOLDER = Path(str(files("vitaclip.recipes")))


def recipe_names() -> tuple[str, ...]:
    """The recipes, by name."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.yaml")))


def views_names() -> tuple[str, ...]:
    """The ways of testing, by name."""
    return tuple(sorted(file.stem for file in (FOLDER / "views").glob("*.yaml")))


def recipe_path(name: str) -> Path:
    """The file of a recipe.

    Raises:
        ValueError: if there is none of that name.
    """
    path = FOLDER / f"{name}.yaml"
    if name not in recipe_names():
        raise ValueError(f"{name!r} is neither a file nor a recipe; the recipes are {', '.join(recipe_names())}")
    return path


def find_recipe(name_or_file: str) -> Path:
    """A YAML file of that path, or else the recipe of that name.

    Raises:
        ValueError: if there is neither.
    """
    file = Path(name_or_file)
    return file if file.is_file() else recipe_path(name_or_file)


def find_views(name_or_file: str) -> Path:
    """A YAML file of that path, or else the way of testing of that name.

    Raises:
        ValueError: if there is neither.
    """
    file = Path(name_or_file)
    if file.is_file():
        return file
    if name_or_file not in views_names():
        raise ValueError(
            f"{name_or_file!r} is neither a file nor a way of testing; these are {', '.join(views_names())}"
        )
    return FOLDER / "views" / f"{name_or_file}.yaml"


def load_recipe(name_or_file: str) -> TrainConfig:
    """A recipe as a config, unknown fields refused.

    Raises:
        ValueError: if there is no such recipe, or it is not a mapping of known fields.
    """
    return from_dict(TrainConfig, _settings(find_recipe(name_or_file)))


def load_views_recipe(name_or_file: str) -> ViewsConfig:
    """A way of testing as a config, unknown fields refused.

    Raises:
        ValueError: if there is none of that name, or it is not a mapping of known fields.
    """
    return from_dict(ViewsConfig, _settings(find_views(name_or_file)))


def _settings(file: Path) -> dict[str, Any]:
    values = read_yaml(file)
    if not isinstance(values, dict):
        raise ValueError(f"{file} holds no settings; start from one that `vitaclip config` lists")
    return values
