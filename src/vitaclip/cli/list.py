"""`vitaclip list`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import yaml

from vitaclip.catalog import (
    ClassList,
    class_variants,
    dataset_names,
    load_dataset_classes,
    load_templates,
    template_names,
)
from vitaclip.cli.command import Command, argument
from vitaclip.parts.registry import parts
from vitaclip.recipes import RECIPES, VIEWS, load_recipe
from vitaclip.settings import setting_texts, to_dict
from vitaclip.strings import did_you_mean
from vitaclip.untrusted import YamlFolder


def _files(folder: YamlFolder) -> Iterator[str]:
    """A line for each file: its name, and the comment that it begins with."""
    width = max(map(len, folder.names()))
    for name in folder.names():
        comment, _, _ = folder.read(name).partition("\n")
        yield f"{name:{width}}  {comment.removeprefix('# ')}"


def _data_sets() -> Iterator[str]:
    for name in dataset_names():
        classes = load_dataset_classes(name)
        yield f"{name:15} {len(classes.names):4}  {classes.about}"
        for variant, about in class_variants(name).items():
            yield f"{'':22}{name}@{variant}: {about}"


def _classes(name: str) -> ClassList:
    data_set, _, variant = name.partition("@")
    return load_dataset_classes(data_set, variant)


def _template_sets() -> Iterator[str]:
    for name, about in template_names().items():
        yield f"{name:15} {len(load_templates(name)):4}  {about}"


def _protocols() -> Iterator[str]:
    from vitaclip.evaluation.protocol import PROTOCOLS, load_protocol  # imports torch, which other kinds need not

    for name in PROTOCOLS.names():
        protocol = load_protocol(name)
        yield f"{name:26} {protocol.about}"
        yield f"{'':28}needs {', '.join(protocol.test_lists)}"
        for variant, wording in protocol.variants.items():
            yield f"{'':28}{name}@{variant}: worded as {wording}"


def _protocol(wanted: str) -> str:
    from vitaclip.evaluation.protocol import PROTOCOLS

    return PROTOCOLS.read(wanted)


def _parts() -> Iterator[str]:
    for slot in SLOTS:
        for name, part in parts(slot).items():
            yield f"{slot}: {name}  {(part.__doc__ or '').splitlines()[0]}"


def _part(wanted: str) -> str:
    lines = []
    for slot in SLOTS:
        if part := parts(slot).get(wanted):
            lines.append(f"model.{slot}: {part.__doc__}")
            settings = setting_texts(part.config_class)
            lines += [f"  {setting} = {default!r}: {text}" for setting, default, text in settings]
    if not lines:
        hint = did_you_mean(wanted, [name for slot in SLOTS for name in parts(slot)])
        raise ValueError(f"no part is called {wanted!r}{hint}; `vitaclip list parts` shows all")
    return "\n".join(lines)


def _backbones() -> Iterator[str]:
    from vitaclip.backbones.known import known_backbones

    yield f"{'name':54} {'parameters, M':>13} {'GFLOP a frame':>13}  licence; published zero-shot figures"
    for each in known_backbones():
        published = {"ImageNet": each.imagenet, "video": each.video}
        figures = ", ".join(f"{name} {figure:g}" for name, figure in published.items() if figure)
        size = f"{each.parameters:>13} {each.frame_gflop:13g}"
        yield f"{each.name:54} {size}  {each.licence}" + (f"; {figures}" if figures else "")


def _backbone(wanted: str) -> str:
    from vitaclip.backbones.known import known_backbones

    known = {each.name: vars(each) for each in known_backbones()}
    if wanted not in known:
        raise ValueError(f"{wanted!r} is not listed; `vitaclip list backbones` shows all (others of a family load too)")
    return yaml.safe_dump(known[wanted], sort_keys=False)


SLOTS = ("context", "pool", "head")
KINDS: dict[str, tuple[Callable[[], Iterable[str]], Callable[[str], str]]] = {
    "recipes": (partial(_files, RECIPES), lambda name: yaml.safe_dump(to_dict(load_recipe(name)), sort_keys=False)),
    "views": (partial(_files, VIEWS), VIEWS.read),
    "classes": (_data_sets, lambda name: "\n".join(_classes(name).names)),
    "prompts": (_data_sets, lambda name: "\n".join(_classes(name).prompts)),
    "templates": (_template_sets, lambda name: "\n".join(load_templates(name))),
    "protocols": (_protocols, _protocol),
    "parts": (_parts, _part),
    "backbones": (_backbones, _backbone),
}
"""Of each kind: the lines that list it, and the text of one by its name."""


@dataclass(frozen=True, kw_only=True)
class List(Command):
    """What comes with the package and is asked for by its name: recipes (--config), ways of testing (--views), class
    names of the standard data sets (--classes), text templates (--template), protocols (--protocol), the parts of a
    model, and backbones (--model.backbone). With a name: all of it, ready to be saved, changed and given in its place.
    A YAML file in place of a recipe's name is checked and printed with every default filled in.

    examples:
      vitaclip list
      vitaclip list recipes own_videos > mine.yaml
      vitaclip list prompts ucf101
      vitaclip list templates clip28
      vitaclip list protocols ucf101_zeroshot
    """

    kind: str = argument("", positional=True, nargs="?", choices=["", *KINDS])
    """What to list; without it all kinds."""
    name: str = argument("", positional=True, nargs="?")
    """One of the kind; of classes and prompts also NAME@VARIANT, another order or wording in circulation."""

    def run(self) -> int:
        """Print."""
        if self.name:
            _, show = KINDS[self.kind]
            print(show(self.name).rstrip("\n"))
        elif self.kind:
            names, _ = KINDS[self.kind]
            print("\n".join(names()))
        else:
            for kind, (names, _) in KINDS.items():
                print("\n  ".join([f"{kind}:", *names()]))
        return 0
