"""`vitaclip list`."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from vitaclip.catalog import class_variants, dataset_names, load_dataset_classes, load_templates, template_names
from vitaclip.evaluate.protocol import find_protocol, load_protocol, protocol_names
from vitaclip.parts.registry import parts
from vitaclip.recipes import find_recipe, find_views, load_recipe, recipe_names, views_names
from vitaclip.settings import setting_texts, to_dict

DESCRIPTION = """\
What comes with the package and is asked for by its name: recipes (--config), ways of testing (--views), class names of
the standard data sets (--classes), text templates (--template), protocols (--protocol), and the parts of a model. With
a name: all of it, ready to be saved, changed and given in its place. A YAML file in place of a recipe's name is checked
and printed with every default filled in.

examples:
  vitaclip list
  vitaclip list recipes own_videos > mine.yaml
  vitaclip list classes ucf101 --prompts
  vitaclip list templates clip28
  vitaclip list protocols ucf101_zeroshot"""


def add_arguments(parser: ArgumentParser) -> None:
    """The kind, the name, and what is printed of a class."""
    parser.add_argument("kind", nargs="?", choices=KINDS, help="what to list; without it all kinds")
    parser.add_argument("name", nargs="?", default="", help="one of the kind")
    parser.add_argument("--prompts", action="store_true", help="classes: print the wording for texts, not the name")
    parser.add_argument("--ids", action="store_true", help="classes: print number, tab, name")
    parser.add_argument("--variant", type=str, default="", help="classes: another order or wording in circulation")


def run(arguments: Namespace) -> int:
    """Print."""
    of_classes = arguments.prompts or arguments.ids or arguments.variant
    if of_classes and (arguments.kind != "classes" or not arguments.name):
        raise ValueError("--prompts, --ids and --variant say how classes are printed: list classes NAME")
    if arguments.name:
        _SHOW[arguments.kind](arguments)
        return 0
    for kind in [arguments.kind] if arguments.kind else KINDS:
        if not arguments.kind:
            print(f"{kind}:")
        for line in KINDS[kind]():
            print(f"  {line}" if not arguments.kind else line)
    return 0


def _parts() -> Iterator[tuple[str, str, Any]]:
    """Slot, name and class of every part that a model may consist of."""
    for slot in ("context", "pool", "head"):
        for name, part in parts(slot).items():
            yield slot, name, part


def _files(files: Mapping[str, Path]) -> list[str]:
    """A line for each file: its name, and the comment that it begins with."""
    width = max(map(len, files))
    comments = {
        name: file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for name, file in files.items()
    }
    return [f"{name:{width}}  {comment}" for name, comment in comments.items()]


def _datasets() -> list[str]:
    lines = []
    for name in dataset_names():
        classes = load_dataset_classes(name)
        lines.append(f"{name:15} {len(classes.names):4}  {classes.about}")
        lines += [f"{'':22}--variant {variant}: {about}" for variant, about in class_variants(name).items()]
    return lines


def _protocols() -> list[str]:
    lines = []
    for name in protocol_names():
        protocol = load_protocol(name)
        lines += [f"{name:26} {protocol.about}", f"{'':28}needs {', '.join(protocol.test_lists)}"]
        lines += [f"{'':28}{name}@{variant}: worded as {text}" for variant, text in protocol.variants.items()]
    return lines


KINDS: dict[str, Callable[[], list[str]]] = {
    "recipes": lambda: _files({name: find_recipe(name) for name in recipe_names()}),
    "views": lambda: _files({name: find_views(name) for name in views_names()}),
    "classes": _datasets,
    "templates": lambda: [
        f"{name:15} {len(load_templates(name)):4}  {about}" for name, about in template_names().items()
    ],
    "protocols": _protocols,
    "parts": lambda: [f"{slot}: {name}  {(part.__doc__ or '').splitlines()[0]}" for slot, name, part in _parts()],
}


def _show_part(given: Namespace) -> None:
    found = [(slot, part) for slot, name, part in _parts() if name == given.name]
    if not found:
        raise ValueError(f"no part is called {given.name!r}; `vitaclip list parts` shows all")
    for slot, part in found:
        print(f"model.{slot}: {part.__doc__}")
        for setting, default, text in setting_texts(part.config_class):
            print(f"  {setting} = {default!r}: {text}")


def _show_classes(arguments: Namespace) -> None:
    classes = load_dataset_classes(arguments.name, arguments.variant)
    for number, text in enumerate(classes.prompts if arguments.prompts else classes.names):
        print(f"{number}\t{text}" if arguments.ids else text)


_SHOW: dict[str, Callable[[Namespace], None]] = {
    "recipes": lambda given: print(yaml.safe_dump(to_dict(load_recipe(given.name)), sort_keys=False), end=""),
    "views": lambda given: print(find_views(given.name).read_text(encoding="utf-8"), end=""),
    "classes": _show_classes,
    "templates": lambda given: print("\n".join(load_templates(given.name))),
    "parts": _show_part,
    "protocols": lambda given: print(find_protocol(given.name).read_text(encoding="utf-8"), end=""),
}
