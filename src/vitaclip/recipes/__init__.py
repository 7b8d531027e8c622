"""Training recipes, and the ways of testing of the literature, that come with the package, as YAML files."""

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from vitaclip.settings import from_dict
from vitaclip.untrusted import YamlFolder, read_yaml

if TYPE_CHECKING:
    from vitaclip.train.config import TrainConfig

RECIPES = YamlFolder(Path(str(files("vitaclip.recipes"))), "recipe")
VIEWS = YamlFolder(RECIPES.folder / "views", "way of testing")


def load_recipe(name_or_file: str) -> "TrainConfig":
    """A recipe as a config.

    Raises:
        ValueError: if there is no such recipe, or it is not a mapping of known fields.

    >>> load_recipe("k400_vitb16_8f").model.num_frames
    8
    """
    from vitaclip.train.config import TrainConfig  # here, because torch comes with it, which help must not wait for

    return from_dict(TrainConfig, read_yaml(RECIPES.find(name_or_file), "`vitaclip list recipes` shows some"))
