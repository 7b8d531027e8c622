"""How labels and folders find their class."""

import re
from collections.abc import Sequence

# What spellings of one name differ in besides capitals: blanks, underscores, and signs that join two letters.
_JOINTS = re.compile(r"[\s_]+|(?<=[^\W\d_])[-+](?=[^\W\d_])")


class ClassIndex:
    """Finds the class that a label or a folder's name means.

    A name as it stands goes first. Failing that, the one class fits whose name differs only in capitals, blanks,
    underscores, or a `-` or `+` between letters: a folder `ApplyEyeMakeup` is the class `apply eye makeup`, and
    `brush_hair` is `brush hair`. Where two classes would fit so, neither does.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._exact = {name: number for number, name in enumerate(names)}
        self._loose: dict[str, int | None] = {}
        for number, name in enumerate(names):
            key = _squeeze(name)
            self._loose[key] = None if key in self._loose else number

    def exact(self, label: str) -> int | None:
        """The number of the class with exactly this name."""
        return self._exact.get(label)

    def find(self, label: str) -> int | None:
        """The number of the class that is meant, or None."""
        for spelling in (label, label.replace("_", " ")):
            if spelling in self._exact:
                return self._exact[spelling]
        return self._loose.get(_squeeze(label))


def _squeeze(name: str) -> str:
    return _JOINTS.sub("", name.casefold())
