"""`vitaclip config`."""

from jsonargparse import ArgumentParser, Namespace

HELP = "list, show or check training recipes"
DESCRIPTION = """\
Without a name: list the recipes. With a recipe's name or a YAML file: check it and print it with every default filled
in, ready to be saved, changed and given to `vitaclip train --config`.

examples:
  vitaclip config
  vitaclip config own_videos > mine.yaml"""


def add_arguments(parser: ArgumentParser) -> None:
    """One recipe, or none."""
    parser.add_argument("recipe", nargs="?", default="", help="a recipe's name, or a YAML file")


def run(arguments: Namespace) -> int:
    """Print."""
    import yaml

    from vitaclip.config import to_dict
    from vitaclip.recipes import load_recipe, recipe_names, recipe_path

    if not arguments.recipe:
        width = max(map(len, recipe_names()))
        for name in recipe_names():
            comment = recipe_path(name).read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
            print(f"{name:{width}}  {comment}")
        return 0
    print(yaml.safe_dump(to_dict(load_recipe(arguments.recipe)), sort_keys=False), end="")
    return 0
