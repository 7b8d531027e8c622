"""What is known of the standard data sets: class names, their wording, templates and the classes of protocols.

Data files and their reader; nothing here knows videos or models. Everything is joined by name: numbers are only the
places of names in a list. A name that is not there is a ValueError that says which are.

Files: `classes/DATASET.txt`, a class a line in the order of the class numbers, `name` or `name = wording`, after a line
that says what it is; `variants.json`, where others order or word classes differently; `splits/SPLIT.json`, class names
of a protocol's subsets; `templates.json`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from vitaclip.plugins import load_plugins
from vitaclip.strings import did_you_mean

_FOLDER = Path(str(files("vitaclip.catalog")))


@dataclass(frozen=True)
class ClassList:
    """The classes of a data set. Class n is `names[n]`; no two names are the same, and no two wordings."""

    dataset: str
    """Its name in the catalogue."""
    about: str
    """What it is, in a line."""
    names: tuple[str, ...]
    """As annotations and class folders spell them: `ApplyEyeMakeup`."""
    prompts: tuple[str, ...]
    """The wording that goes into a text: `apply eye makeup`. Same order."""

    def subset(self, names: Sequence[str]) -> "ClassList":
        """The classes of these names, in the order given; ValueError if one is not there, or comes twice."""
        wording = dict(zip(self.names, self.prompts, strict=True))
        for place, name in enumerate(names):
            if name not in wording:
                raise ValueError(f"{self.dataset} has no class {name!r}{did_you_mean(name, self.names)}")
            if name in names[:place]:
                raise ValueError(f"class {name!r} of {self.dataset} comes twice; name each once")
        return replace(self, names=tuple(names), prompts=tuple(wording[name] for name in names))


_REGISTERED: dict[str, ClassList] = {}


def register_dataset(name: str, about: str, classes: Mapping[str, str] | Sequence[str]) -> None:
    """Make the classes of a data set known by a name, which `--data.classes` and `--classes` then take.

    Args:
        name: of the data set.
        about: what it is, in a line.
        classes: the names in the order of the class numbers; as a mapping, with the wording that goes into a text.

    Raises:
        ValueError: for a name that the catalogue has, or classes that are none or come twice.

    >>> register_dataset("kitchen", "what my camera sees", {"PourTea": "pouring tea", "Chop": "chopping"})
    >>> load_dataset_classes("kitchen").prompts
    ('pouring tea', 'chopping')
    """
    wordings = dict(classes) if isinstance(classes, Mapping) else {each: each for each in classes}
    if name in _stems("classes", "txt"):
        raise ValueError(f"the catalogue has a data set {name!r} already; choose another name")
    if not wordings or len(wordings) < len(classes):
        raise ValueError(f"data set {name!r}: give class names, each once")
    _REGISTERED[name] = ClassList(name, about, tuple(wordings), tuple(wordings.values()))


def dataset_names() -> tuple[str, ...]:
    """The data sets whose classes are known."""
    load_plugins()
    return tuple(sorted({*_stems("classes", "txt"), *_REGISTERED}))


def load_dataset_classes(dataset: str, variant: str = "") -> ClassList:
    """The classes of a data set.

    Args:
        dataset: one of `dataset_names`.
        variant: empty, or one of `class_variants(dataset)`: another order or wording in circulation.

    Raises:
        ValueError: if there is no such data set or variant.

    >>> load_dataset_classes("ucf101").prompts[:2]
    ('apply eye makeup', 'apply lipstick')
    """
    _require_known(variant, ["", *class_variants(dataset)], f"variant of {dataset}")
    if dataset in _REGISTERED:
        return _REGISTERED[dataset]
    heading, *lines = (_FOLDER / "classes" / f"{dataset}.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    wordings = {name: wording or name for name, _, wording in (line.partition(" = ") for line in lines)}
    names, about = tuple(wordings), heading.removeprefix("# ")
    if variant:
        changes = _read_json("variants")[dataset][variant]
        swapped = {a: b for one, two in changes.get("swapped", []) for a, b in ((one, two), (two, one))}
        names, about = tuple(swapped.get(name, name) for name in names), changes["about"]
        wordings |= changes.get("prompts", {})
    return ClassList(dataset, about, names, tuple(wordings[name] for name in names))


def class_variants(dataset: str) -> dict[str, str]:
    """The variants of a data set's classes, and what each is."""
    _require_known(dataset, dataset_names(), "data set of the catalogue")
    return {name: variant["about"] for name, variant in _read_json("variants").get(dataset, {}).items()}


def load_split(split: str) -> dict[str, tuple[str, ...]]:
    """The class names of each part of a protocol; their order is that of the labels in the protocol's own lists."""
    _require_known(split, _stems("splits", "json"), "split of the catalogue")
    return {name: tuple(members) for name, members in _read_json(f"splits/{split}")["subsets"].items()}


def load_subset(split: str, subset: str) -> ClassList:
    """The classes of a part of a protocol, with their wording.

    >>> load_subset("k600_zeroshot", "split1/test").names[:2]
    ('acting in play', 'adjusting glasses')
    """
    subsets = load_split(split)
    _require_known(subset, subsets, f"part of the split {split}")
    return load_dataset_classes(_read_json(f"splits/{split}")["dataset"]).subset(subsets[subset])


def template_names() -> dict[str, str]:
    """The sets of templates, and what each is."""
    return {name: entry["about"] for name, entry in _read_json("templates").items()}


def load_templates(name: str) -> tuple[str, ...]:
    """Texts of the literature, each with one `{}` for the class.

    >>> load_templates("vificlip")
    ('a photo of a {}.',)
    """
    _require_known(name, template_names(), "set of templates")
    return tuple(_read_json("templates")[name]["templates"])


def _read_json(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _stems(folder: str, suffix: str) -> tuple[str, ...]:
    return tuple(sorted(file.stem for file in (_FOLDER / folder).glob(f"*.{suffix}")))


def _require_known(name: str, names: Iterable[str], what: str) -> None:
    if name not in names:
        known = ", ".join(filter(None, names)) or "none"
        raise ValueError(f"{name!r} is no {what}{did_you_mean(name, names)}; there is {known}")
