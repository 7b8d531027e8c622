"""Labels: from what lists and tar files write to class indices, and from these to tensors.

Axes: B videos, M labels of the video that has most, K classes.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitaclip.names import ClassIndex, quoted
from vitaclip.strings import did_you_mean

Labels = tuple[int, ...]
"""Class indices of a video from 0, in ascending order; one in the common case."""

LABEL_COLUMNS = "label class class_name label_name category class_id label_id target labels".split()  # noqa: SIM905
"""Names that people give the label in a heading or in JSON; the first that is there counts."""
NO_LABEL = -1
"""Fills up the labels of videos that have fewer than others."""
BETWEEN_LABELS = "|"
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_MOST_HINTS, _MOST_COMPARED = 10, 20_000  # ten problems are shown, and each name is compared with all classes


class LabelReader:
    """Turns labels, as lists and tar files write them, into class indices."""

    def __init__(self, class_names: Sequence[str]) -> None:
        """Args:
        class_names: names in the order of the classes; empty when only numbers are known.
        """
        self.index = ClassIndex(class_names) if class_names else None
        self._least: int | None = None  # of the labels written as numbers
        self._hints = _MOST_HINTS if len(class_names) <= _MOST_COMPARED else 0

    @property
    def note(self) -> str:
        """A suspicion that labels count from 1, for the user; empty without."""
        if self._least != 1:
            return ""
        return "label 0 never occurs: labels count from 0; if these count from 1, every class is the one after its own"

    def read(self, text: str) -> Labels:
        """The class, or with `|` between several of them, that a text means.

        Raises:
            ValueError: no such class, or a number where a name is needed.
        """
        if BETWEEN_LABELS not in text or self.is_name(text):
            return (self._read_one(text),)
        return tuple(sorted({self._read_one(part.strip()) for part in text.split(BETWEEN_LABELS)}))

    def is_name(self, text: str) -> bool:
        """Whether a text is the name of a class, in a spelling that `ClassIndex` knows."""
        return self.index is not None and self.index.find(text) is not None

    def is_label(self, text: str) -> bool:
        """Whether a text is a number or the name of a class."""
        return bool(_NUMBER.fullmatch(text)) or self.is_name(text)

    def means_several(self, text: str) -> bool:
        """Whether a text is several labels with other signs than `|` between them."""
        bare = text.strip("\"'[]() ")
        numbers, names = re.split(r"[\s,;|]+", bare), [name.strip() for name in re.split(r"[,;|]", bare)]
        return (len(numbers) > 1 and all(map(str.isdecimal, numbers))) or (
            len(names) > 1 and all(map(self.is_label, names))
        )

    def _read_one(self, label: str) -> int:
        named = self.index.exact(label) if self.index else None
        if named is not None:
            if label.isdecimal() and int(label) != named:
                classes = f"class number {int(label)} or the name of class {named}"
                raise ValueError(f"label {label!r} may be {classes}; rename that class")
            return named
        if not _NUMBER.fullmatch(label):
            return self._read_name(label)
        number = int(label)
        if number < 0:
            raise ValueError(f"label {number} is negative; classes are numbered from 0")
        self._least = number if self._least is None else min(self._least, number)
        if self.index is not None and number >= len(self.index.names):
            classes = f"{len(self.index.names)} classes" if len(self.index.names) > 1 else "1 class"
            raise ValueError(f"label {number} is out of range for {classes}; use 0..{len(self.index.names) - 1}")
        return number

    def _read_name(self, label: str) -> int:
        meant = self.index.find(label) if self.index else None
        if meant is not None:
            return meant
        if self.means_several(label):
            raise several_labels(label)
        if self.index is None:
            raise ValueError(f"label {quoted(label)} is no class number; use 0, 1, ... or give the class names")
        hint = did_you_mean(label, self.index.names) if self._hints > 0 else ""
        self._hints -= 1
        raise ValueError(f"no class is called {quoted(label)}{hint}; correct it or add it to the class names")


def several_labels(text: str) -> ValueError:
    """The error for several labels that are not written as such."""
    return ValueError(f"several labels ({quoted(text)[1:-1]}) have | between them, as in 0|2; write them so, or one")


def parse_json(text: str) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: it is none, names a key twice, or is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=_distinct_keys)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON ({error.msg})") from error
    except RecursionError as error:
        raise ValueError("is no JSON to be read (nested too deeply)") from error


def _distinct_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"has the key {quoted(twice)} twice; remove one")
    return entries


def label_of_json(text: str) -> str | None:
    """The label in a JSON text, itself a label or an object with one of LABEL_COLUMNS; None without.

    Raises:
        ValueError: no JSON, or something else than numbers and names.
    """
    try:
        entry = parse_json(text)
    except ValueError as error:
        raise ValueError(f"its json {error}; write it anew") from error
    if not isinstance(entry, dict):
        return label_text(entry)
    values = {key.casefold(): value for key, value in entry.items()}
    return next((label_text(values[name]) for name in LABEL_COLUMNS if name in values), None)


def label_text(label: object) -> str:
    """A JSON value, a number, a name or a list of them, as a list file writes it."""
    if isinstance(label, list) and label and not any(isinstance(each, list) for each in label):
        return format_labels(map(label_text, label))
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise ValueError(f"label {quoted(label)} must be a number or a name, or a list of them")
    return str(label)


def format_labels(labels: Iterable[object]) -> str:
    """Labels of one video, numbers or names, as a list file has them."""
    return BETWEEN_LABELS.join(map(str, labels))


def single_labels(labels: Sequence[Labels], setting: str) -> NDArray[np.int64]:
    """The label of each video, (N,).

    Raises:
        ValueError: a video has several, which `setting` has no meaning for.
    """
    several = sum(len(each) != 1 for each in labels)
    if several:
        raise ValueError(f"{setting} needs one label a video; {several} of {len(labels)} videos have several")
    return np.array([each[0] for each in labels], dtype=np.int64)


def label_tensor(labels: Sequence[Labels], width: int = 1) -> Tensor:
    """Labels as int64: (B,) if `width`, the most that a video of the whole list has, is 1; else (B, M), those of videos
    with fewer filled up with NO_LABEL.
    """
    if width == 1:
        return torch.tensor([label for (label,) in labels], dtype=torch.int64)
    rows = [each + (NO_LABEL,) * (width - len(each)) for each in labels]
    return torch.tensor(rows, dtype=torch.int64).view(-1, width)


def multi_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Which classes each video has, bool (B, K), of labels (B,) or (B, M) as `label_tensor` makes them.

    >>> multi_hot(torch.tensor([[0, 2], [1, -1]]), 3).int().tolist()
    [[1, 0, 1], [0, 1, 0]]
    """
    one_column_more = torch.zeros(len(labels), num_classes + 1, dtype=torch.bool, device=labels.device)
    return one_column_more.scatter_(1, labels.view(len(labels), -1) % (num_classes + 1), True)[:, :num_classes]
