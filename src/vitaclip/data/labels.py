"""Labels: from what lists and tar files write to class indices, and from these to tensors.

Axes: B videos, M labels of the video that has most, K classes.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitaclip.names import ClassIndex, quoted
from vitaclip.strings import did_you_mean, one_line

Labels = tuple[int, ...]
"""Class indices of a video from 0, in ascending order; one in the common case."""

LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category")
"""Names of the label in a heading or in JSON; the first that is there counts."""
NO_LABEL = -1
"""Fills up the labels of videos that have fewer than others."""
BETWEEN_LABELS = "|"
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_MOST_HINTS = 10  # as many problems are shown, and each hint compares with all classes


class LabelReader:
    """Turns labels, as lists and tar files write them, into class indices."""

    def __init__(self, class_names: Sequence[str]) -> None:
        """Args:
        class_names: names in the order of the classes; empty when only numbers are known.
        """
        self._index = ClassIndex(class_names)
        self._hints = _MOST_HINTS
        self._least: int | None = None  # of the labels written as numbers

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
        return tuple(sorted(set(map(self._read_one, self.split(text)))))

    def split(self, text: str) -> list[str]:
        """The labels between the `|` of a text; a name may hold the sign itself."""
        one = BETWEEN_LABELS not in text or self._index.find(text) is not None
        return [text] if one else [part.strip() for part in text.split(BETWEEN_LABELS)]

    def _read_one(self, label: str) -> int:
        named, names = self._index.exact(label), self._index.names
        if named is not None and label.isdecimal() and int(label) != named:
            classes = f"class number {int(label)} or the name of class {named}"
            raise ValueError(f"label {label!r} may be {classes}; rename that class")
        if named is None and _NUMBER.fullmatch(label):
            number = int(label)
            self._least = number if self._least is None else min(self._least, number)
            if number < 0 or (names and number >= len(names)):
                raise ValueError(
                    f"label {number} is out of range; classes are numbered from 0, here to {len(names) - 1}"
                )
            return number
        found = self._index.find(label)
        if found is None and not names:
            use = "use 0, 1, ..., with | between several, or give the class names"
            raise ValueError(f"label {quoted(label)} is no class number; {use}")
        if found is None:
            self._hints -= 1
            hint = did_you_mean(label, names) if self._hints >= 0 else ""
            use = "correct it, add it to the class names, or write | between several"
            raise ValueError(f"no class is called {quoted(label)}{hint}; {use}")
        return found


def parse_json(text: str) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: it is none, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON that can be read ({one_line(error)}); correct it") from error


def first_value(values: Any, names: Iterable[str]) -> Any:
    """What a mapping has under the first of these names that is there, in capitals or not; None if none is."""
    folded = {key.casefold(): value for key, value in values.items()} if isinstance(values, dict) else {}
    return next((folded[name] for name in names if name in folded), None)


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
