"""The annotations of Something-Something v2: lists of {"id": "7", "template": "Putting [something] on a surface"}."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vitaclip.catalog import ClassList
from vitaclip.data.prepare.annotations import (
    Annotations,
    ClassNames,
    Clip,
    annotation_file,
    read_json,
    require_folder,
)

_PREFIXES = ("", "something-something-v2-")
_FILES = {"train": "train.json", "val": "validation.json"}


def read_ssv2(source: Path, classes: ClassList) -> Annotations:
    """Reads `train.json` and `validation.json`; a class is the template without brackets. `labels.json` must name the
    same classes; its numbers are not looked at.

    Raises:
        ValueError: neither list is there, or an entry is wrong.
    """
    require_folder(source, "labels.json, train.json, validation.json")
    names = ClassNames(classes)
    labels = annotation_file(source, [prefix + "labels.json" for prefix in _PREFIXES])
    for label in read_json(labels) if labels else ():
        names.find(_without_brackets(label), str(labels))
    clips: list[Clip] = []
    notes = []
    for list_name, name in _FILES.items():
        file = annotation_file(source, [prefix + name for prefix in _PREFIXES])
        if file is None:
            notes.append(f"{name}: is not there")
        else:
            clips += _read_file(file, list_name, names)
    if not clips:
        raise ValueError(f"{source}: holds neither train.json nor validation.json; give the folder of the labels")
    if annotation_file(source, [prefix + "test.json" for prefix in _PREFIXES]):
        notes.append("test.json: passed over, it has no labels")
    return Annotations(classes, tuple(clips), (("train", "val"),), tuple(notes))


def _read_file(file: Path, list_name: str, names: ClassNames) -> Iterator[Clip]:
    entries: Any = read_json(file)
    if not isinstance(entries, list):
        raise ValueError(f"{file}: is no list of videos; download the labels again")
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not {"id", "template"} <= set(entry):
            raise ValueError(f"{file}: entry {number} has no id or no template; download the labels again")
        name = _without_brackets(str(entry["template"]))
        yield Clip(list_name, str(entry["id"]), names.find(name, f"{file}, entry {number}"))


def _without_brackets(template: str) -> str:
    return template.replace("[", "").replace("]", "")
