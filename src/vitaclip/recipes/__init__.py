"""Training recipes, and the ways of testing of the literature, that come with the package, as YAML files."""

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from vitaclip.settings import from_dict
from vitaclip.untrusted import find_yaml, read_settings_file, shipped_names

if TYPE_CHECKING:
    from vitaclip.train.config import TrainConfig

FOLDER = Path(str(files("vitaclip.recipes")))
VIEWS_FOLDER = FOLDER / "views"


def recipe_names() -> tuple[str, ...]:
    """The names of the recipes."""
    return shipped_names(FOLDER)


def views_names() -> tuple[str, ...]:
    """The names of the ways of testing."""
    return shipped_names(VIEWS_FOLDER)


def find_recipe(name_or_file: str) -> Path:
    """The file of a recipe; see `find_yaml`."""
    return find_yaml(name_or_file, FOLDER, "recipe")


def find_views(name_or_file: str) -> Path:
    """The file of a way of testing; see `find_yaml`."""
    return find_yaml(name_or_file, VIEWS_FOLDER, "way of testing")


def load_recipe(name_or_file: str) -> "TrainConfig":
    """A recipe as a config.

    Raises:
        ValueError: if there is no such recipe, or it is not a mapping of known fields.

    Example:
        >>> load_recipe("k400_vitb16_8f").model.num_frames
        8
    """
    from vitaclip.train.config import TrainConfig  # here, because torch comes with it, which help must not wait for

    return from_dict(TrainConfig, read_settings_file(find_recipe(name_or_file), "`vitaclip list recipes` shows some"))
