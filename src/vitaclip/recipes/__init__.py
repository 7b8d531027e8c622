"""Training recipes, and the ways of testing of the literature, that come with the package, as YAML files."""

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitaclip.settings import from_dict
from vitaclip.untrusted import YamlFolder, read_yaml

if TYPE_CHECKING:
    from vitaclip.training.config import TrainConfig

RECIPES = YamlFolder(Path(str(files("vitaclip.recipes"))), "recipe")
VIEWS = YamlFolder(RECIPES.folder / "views", "way of testing")


def load_recipe(name_or_file: str, **settings: Any) -> "TrainConfig":
    """A recipe as a config, with some settings changed; of a group, those that are named.

    Raises:
        ValueError: if there is no such recipe, or it is not a mapping of known fields.

    >>> load_recipe("k400_vitb16_8f", out="runs/first", data={"workers": 4}).model.num_frames
    8
    """
    from vitaclip.training.config import TrainConfig  # here, because torch comes with it, which help must not wait for

    recipe = read_yaml(RECIPES.find(name_or_file), "`vitaclip list recipes` shows some")
    return from_dict(TrainConfig, _changed(recipe, settings))


def _changed(values: Any, settings: Any) -> Any:
    if not isinstance(values, dict) or not isinstance(settings, dict):
        return settings
    return values | {name: _changed(values.get(name), value) for name, value in settings.items()}
