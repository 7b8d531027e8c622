"""`vitaclip list`."""

from collections.abc import Callable, Iterator
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from vitaclip.catalog import class_variants, dataset_names, load_dataset_classes, load_templates, template_names
from vitaclip.evaluate.protocol import PROTOCOLS, load_protocol
from vitaclip.parts.registry import parts
from vitaclip.recipes import RECIPES, VIEWS, load_recipe
from vitaclip.settings import setting_texts, to_dict
from vitaclip.untrusted import YamlFolder

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
        _, show = KINDS[arguments.kind]
        print(show(arguments).rstrip("\n"))
    elif arguments.kind:
        names, _ = KINDS[arguments.kind]
        print("\n".join(names()))
    else:
        for kind, (names, _) in KINDS.items():
            print("\n  ".join([f"{kind}:", *names()]))
    return 0


def _files(folder: YamlFolder) -> Iterator[str]:
    """A line for each file: its name, and the comment that it begins with."""
    width = max(map(len, folder.names()))
    for name in folder.names():
        comment, _, _ = folder.find(name).read_text(encoding="utf-8").partition("\n")
        yield f"{name:{width}}  {comment.removeprefix('# ')}"


def _data_sets() -> Iterator[str]:
    for name in dataset_names():
        classes = load_dataset_classes(name)
        yield f"{name:15} {len(classes.names):4}  {classes.about}"
        for variant, about in class_variants(name).items():
            yield f"{'':22}--variant {variant}: {about}"


def _classes(given: Namespace) -> str:
    classes = load_dataset_classes(given.name, given.variant)
    texts = classes.prompts if given.prompts else classes.names
    return "\n".join(f"{number}\t{text}" if given.ids else text for number, text in enumerate(texts))


def _template_sets() -> Iterator[str]:
    for name, about in template_names().items():
        yield f"{name:15} {len(load_templates(name)):4}  {about}"


def _protocols() -> Iterator[str]:
    for name in PROTOCOLS.names():
        protocol = load_protocol(name)
        yield f"{name:26} {protocol.about}"
        yield f"{'':28}needs {', '.join(protocol.test_lists)}"
        for variant, wording in protocol.variants.items():
            yield f"{'':28}{name}@{variant}: worded as {wording}"


def _parts() -> Iterator[tuple[str, str, Any]]:
    """Slot, name and class of every part that a model may consist of."""
    for slot in ("context", "pool", "head"):
        for name, part in parts(slot).items():
            yield slot, name, part


def _part(given: Namespace) -> str:
    lines = []
    for slot, name, part in _parts():
        if name == given.name:
            lines.append(f"model.{slot}: {part.__doc__}")
            lines += [
                f"  {setting} = {default!r}: {text}" for setting, default, text in setting_texts(part.config_class)
            ]
    if not lines:
        raise ValueError(f"no part is called {given.name!r}; `vitaclip list parts` shows all")
    return "\n".join(lines)


KINDS: dict[str, tuple[Callable[[], Iterator[str]], Callable[[Namespace], str]]] = {
    "recipes": (
        lambda: _files(RECIPES),
        lambda given: yaml.safe_dump(to_dict(load_recipe(given.name)), sort_keys=False),
    ),
    "views": (lambda: _files(VIEWS), lambda given: VIEWS.find(given.name).read_text(encoding="utf-8")),
    "classes": (_data_sets, _classes),
    "templates": (_template_sets, lambda given: "\n".join(load_templates(given.name))),
    "protocols": (_protocols, lambda given: PROTOCOLS.find(given.name).read_text(encoding="utf-8")),
    "parts": (
        lambda: (f"{slot}: {name}  {(part.__doc__ or '').splitlines()[0]}" for slot, name, part in _parts()),
        _part,
    ),
}
"""Of each kind: the lines that list it, and the text of one."""
