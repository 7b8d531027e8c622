"""Protocols of the literature, and one's own, as data: which lists, which candidates, which models, what is averaged.

A protocol is a YAML file. Words in braces, such as `{seed}` in a list's name, stand for the values of `models`: each
value is a model of its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from vitaclip.catalog import ClassList, class_variants, load_dataset_classes, load_subset
from vitaclip.data.lists.sources import choose_classes
from vitaclip.names import check_class_names
from vitaclip.settings import Config, Rule, from_dict, require
from vitaclip.untrusted import YamlFolder, read_yaml, reading

PROTOCOLS = YamlFolder(Path(str(files("vitaclip.evaluation"))) / "protocols", "protocol")
ALL = "all"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_PartName = Annotated[
    str, Rule(re.compile(r"[\w-][\w .-]*").fullmatch, "names files; write letters, digits, blanks, - and .")
]
_Word = Annotated[str, Rule(str.isidentifier, "tell models apart by one word, such as seed")]


@dataclass(frozen=True, kw_only=True)
class Part(Config):
    """Some videos and their candidates: what one accuracy is measured on."""

    lists: Annotated[tuple[str, ...], Rule(bool, "give list files: [test.csv]")]
    """List files below the root, taken together."""
    classes: str = ALL
    """Candidates: `all`, or a subset of the protocol's split; videos of other classes are then passed over."""


@dataclass(frozen=True, kw_only=True)
class Protocol(Config):
    """A way of measuring, whole."""

    name: str
    """Its file without ending; `@variant` after it if the candidates are worded otherwise."""
    about: str
    """What it is, in a line."""
    parts: Annotated[Mapping[_PartName, Part], Rule(bool, "give at least one: {test: {lists: [test.csv]}}")]
    """What is measured, by name."""
    dataset: str = ""
    """Data set of the catalogue; labels in lists are its class names."""
    classes: str | tuple[str, ...] = ""
    """In place of `dataset`: a list of names, or what `--classes` takes (a file lies beside the protocol's)."""
    split: str = ""
    """Split of the catalogue, whose subsets the parts may name as candidates."""
    models: Mapping[_Word, Annotated[tuple[int, ...], Rule(bool, "give numbers, such as [1, 2, 3]")]] = field(
        default_factory=dict
    )
    """Name and values of what tells the models apart, such as `seed: [1, 2, 3]`. Empty: one model."""
    train: tuple[str, ...] = ()
    """Lists that the training videos come from; no video that is tested may be in them."""
    shots: str = "0"
    """Videos of each class that the model was to be trained on; checked if it has a train_list.csv. 0: any number."""
    summary: Literal["each", "mean", "harmonic_mean"] = "each"
    """each: the parts stand for themselves. mean: with the population standard deviation, over parts and models.
    harmonic_mean: of the means of the two parts over the models."""
    variants: Mapping[str, str] = field(default_factory=dict)
    """Other wordings: the name after `@`, and the catalogue's name of it."""
    variant: str = ""
    """The one of these that was asked for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in self.parts.values():
            require(bool(self.split) or part.classes == ALL, self, "split", f"name the one that has {part.classes!r}")
        require(bool(self.dataset) != bool(self.classes), self, "classes", "give either dataset or classes")
        require(len(self.models) <= 1, self, "models", "tell models apart by one word, such as seed: [1, 2, 3]")
        named = [*self.train, self.shots, *(name for part in self.parts.values() for name in part.lists)]
        unknown = {word for text in named for word in _PLACEHOLDER.findall(text)} - set(self.models)
        require(not unknown, self, "models", f"gives no values for {', '.join(sorted(unknown))}")
        shots = self.shots.isdecimal() or bool(_PLACEHOLDER.fullmatch(self.shots))
        require(shots, self, "shots", "give a number, or a word in braces that `models` gives values for")
        two = self.summary != "harmonic_mean" or len(self.parts) == 2
        require(two, self, "summary", "is of exactly two parts")
        known = not self.variant or self.variant in self.variants
        require(known, self, "variant", f"is no variant; there is {', '.join(self.variants) or 'none'}")

    @property
    def values(self) -> tuple[dict[str, int], ...]:
        """What each model goes by: `{"seed": 1}`, `{"seed": 2}` ...; one empty mapping if there is one model."""
        return tuple({name: value} for name, values in self.models.items() for value in values) or ({},)

    @property
    def test_lists(self) -> tuple[str, ...]:
        """The list files that are needed, each once."""
        named = [name for part in self.parts.values() for name in part.lists]
        return tuple(dict.fromkeys(fill(name, values) for values in self.values for name in named))

    @property
    def lists(self) -> tuple[str, ...]:
        """All list files that are read if they are there, each once: those needed, then training lists."""
        train = (fill(name, values) for values in self.values for name in self.train)
        return tuple(dict.fromkeys((*self.test_lists, *train)))

    def all_classes(self) -> ClassList:
        """Every class that a label may name, and what stands for it in a text."""
        if not self.dataset:
            assert isinstance(self.classes, tuple)
            return ClassList(self.name, self.about, self.classes, self.classes)
        classes = load_dataset_classes(self.dataset)
        if not self.variant:
            return classes
        # As published: class number n is given wording number n, which is that of another class where orders differ.
        wordings = load_dataset_classes(self.dataset, self.variants[self.variant]).prompts
        return ClassList(self.dataset, classes.about, classes.names, wordings)

    def candidates(self, part: str) -> ClassList:
        """The candidates of a part."""
        subset = self.parts[part].classes
        classes = self.all_classes()
        return classes if subset == ALL else classes.subset(load_subset(self.split, subset).names)


def fill(text: str, values: Mapping[str, int]) -> str:
    """The text with values for the words in braces."""
    return _PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[0])), text)


def check_models(protocol: Protocol, model: str) -> None:
    """Make sure that the folders of several models are all there before the first is used.

    Raises:
        ValueError: if some are there and some not, or a word in braces stands for nothing.
    """
    names = [fill(model, values) for values in protocol.values]
    unknown = _PLACEHOLDER.search(names[0])
    if unknown:
        words = " or ".join(f"{{{word}}}" for word in protocol.models) or "no word in braces"
        raise ValueError(f"--model {model}: {unknown[0]} stands for nothing; protocol {protocol.name} knows {words}")
    lacking = [name for name in names if not Path(name).exists()]
    if lacking and len(lacking) < len(names):
        raise ValueError(f"--model {model}: {', '.join(lacking)} not there; protocol {protocol.name} needs all of them")


def load_protocol(name_or_file: str) -> Protocol:
    """A protocol of the package, `NAME` or `NAME@VARIANT`, or one's own YAML file.

    Raises:
        ValueError: if there is none, or the file is wrong.

    Example:
        >>> load_protocol("hmdb51_zeroshot").test_lists
        ('test1.csv', 'test2.csv', 'test3.csv')
    """
    name, at, variant = name_or_file.rpartition("@")
    if Path(name_or_file).is_file() or not at:
        name, variant = name_or_file, ""
    file = PROTOCOLS.find(name)
    values = {"about": file.stem, "parts": {}, **read_yaml(file, "docs/protocols.md shows one")}
    with reading(file, "docs/protocols.md shows one"):
        values |= {"name": f"{file.stem}{at * bool(variant)}{variant}", "variant": variant}
        values["shots"] = str(values.get("shots", 0))
        own = values.get("classes")
        if isinstance(own, str) and own:
            values["classes"] = choose_classes(str(file.parent / own) if (file.parent / own).is_file() else own)
        elif isinstance(own, list):
            values["classes"] = check_class_names(own, "classes")
        protocol = from_dict(Protocol, values)
        known = class_variants(protocol.dataset) if protocol.dataset else {}
        for other, wording in protocol.variants.items():
            whose = f"the data set {protocol.dataset!r}" if protocol.dataset else "a protocol without `dataset`"
            if wording not in known:
                there = ", ".join(known) or "none"
                raise ValueError(f"variants: {other} = {wording!r} is no wording of {whose}; there is {there}")
        for part in protocol.parts:
            protocol.candidates(part)
    return protocol
