"""`vitaclip config`."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

HELP = "list, show or check training recipes, and list ways of testing"
DESCRIPTION = """\
Without a name: list the recipes, and the ways of testing that --views takes by name. With a recipe's name or a YAML
file: check it and print it with every default filled in, ready to be saved, changed and given to `vitaclip train
--config`.

examples:
  vitaclip config
  vitaclip config own_videos > mine.yaml
  vitaclip config --parts"""


def add_arguments(parser: ArgumentParser) -> None:
    """One recipe, or none."""
    parser.add_argument("--parts", action="store_true", help="list the parts of a model with their settings")
    parser.add_argument("recipe", nargs="?", default="", help="a recipe's name, or a YAML file")


def run(arguments: Namespace) -> int:
    """Print."""
    import yaml

    from vitaclip.config import to_dict
    from vitaclip.recipes import find_recipe, find_views, load_recipe, recipe_names, views_names

    if arguments.parts:
        _list_parts()
        return 0
    if not arguments.recipe:
        _list({name: find_recipe(name) for name in recipe_names()})
        print("\nways of testing, for --views:")
        _list({name: find_views(name) for name in views_names()})
        return 0
    print(yaml.safe_dump(to_dict(load_recipe(arguments.recipe)), sort_keys=False), end="")
    return 0


def _list_parts() -> None:
    """Each part of each slot with the first line of its text, and its settings."""
    from vitaclip.parts.registry import parts
    from vitaclip.settings import setting_texts

    for slot in ("context", "pool", "head"):
        print(f"model.{slot}:")
        for name, part in parts(slot).items():
            print(f"  {name}: {(part.__doc__ or '').splitlines()[0]}")
            for setting, default, text in setting_texts(part.config_class):
                print(f"    {setting} = {default!r}: {text}")


def _list(files: dict[str, Path]) -> None:
    """A line for each file: its name, and the comment that it begins with."""
    width = max(map(len, files))
    for name, file in files.items():
        comment = file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        print(f"{name:{width}}  {comment}")
