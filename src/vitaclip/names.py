"""Names of classes: what a text tower reads of one, when two of them are one, and which class a label means."""

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

import ftfy

# What spellings of one name differ in besides capitals: blanks, underscores, and signs that join two letters.
_JOINTS = re.compile(r"[\s_]+|(?<=[^\W\d_])[-+](?=[^\W\d_])")
_LONGEST_QUOTATION = 60


def clean_text(text: str) -> str:
    """Mend mojibake and drop control characters, undo HTML entities, fold white space and case, as CLIP's training did.

    Plain ASCII goes through ftfy too: entities and control characters are its business as well.
    """
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    # Lower case is Python's: the tokenizers library's own differs on a final sigma.
    return " ".join(text.split()).lower()


def in_words(name: str) -> str:
    """The name as texts have it, with blanks for underscores.

    >>> in_words("opening_a_door")
    'opening a door'
    """
    return name.replace("_", " ")


def quoted(value: object) -> str:
    """A value as messages show it: a text in quotation marks; of long ones the first 56 characters."""
    text = value if isinstance(value, str) else repr(value)
    short = text if len(text) <= _LONGEST_QUOTATION else text[: _LONGEST_QUOTATION - 4] + " ..."
    return repr(short) if isinstance(value, str) else short


def refuse_text(values: object, where: str) -> None:
    """Raise ValueError for one text where a list of them is wanted: Python would take its letters for a list."""
    if isinstance(values, str):
        parts = [values] if "{}" in values else [part.strip() for part in values.split(",")]
        raise ValueError(f"{where}: {quoted(values)} is one text; give a list, [{', '.join(map(quoted, parts))}]")


def in_order(values: Iterable[str], where: str) -> tuple[str, ...]:
    """Texts in the order of a list, an array or a generator.

    Raises:
        ValueError: for one text, or a set, whose order is none.
    """
    refuse_text(values, where)
    if isinstance(values, set | frozenset):
        raise ValueError(f"{where}: a set has no order; give a list, as in sorted(names)")
    return tuple(values)


def check_class_names(names: Iterable[str], where: str, sources: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return class names as a tuple, after checking that there are some, and that each is one text of its own.

    Two names are the same if the text tower reads the same: capitals, blanks, the Unicode form (`é` as one character
    or as two), HTML entities and invisible characters make no difference. `red_key` and `red key` are two names, since
    their labels differ, although their texts are equal.

    Args:
        names: the class names.
        where: what the names come from, for messages.
        sources: place of each name, for messages (`names.txt:3`); default: its number.

    Raises:
        ValueError: no name, one without text, one that occurs twice, or as `in_order`.
    """
    if not (names := in_order(names, where)):
        raise ValueError(f"{where}: no class names; give at least one, one a line")
    places = [f"{where}, class {number}" for number in range(len(names))] if sources is None else sources
    first = dict[str, int]()
    for number, (place, name) in enumerate(zip(places, names, strict=True)):
        if not isinstance(name, str):
            raise ValueError(f"{place}: {quoted(name)} is no text; write the name of the class")
        if not (key := text_key(name)):
            raise ValueError(f"{place}: blank class name {quoted(name)}; write a name or remove it")
        if (earlier := first.setdefault(key, number)) != number:
            other = f"{quoted(names[earlier])} ({places[earlier]})"
            raise ValueError(f"{place}: class {quoted(name)} reads the same as {other}; rename one")
    return tuple(map(str, names))


class ClassIndex:
    """Finds the class that a label or a folder's name means.

    A name as it stands goes first, in any Unicode form. Failing that, the one class fits whose name differs only in
    capitals, blanks, underscores, or a `-` or `+` between letters: a folder `ApplyEyeMakeup` is the class
    `apply eye makeup`, and `brush_hair` is `brush hair`. Where two classes would fit so, neither does.

    >>> ClassIndex(["apply eye makeup", "archery"]).find("ApplyEyeMakeup")
    0
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._exact = {_compose(name): number for number, name in enumerate(names)}
        self._loose: dict[str, int | None] = {}
        for number, name in enumerate(names):
            key = _squeeze(name)
            self._loose[key] = None if key in self._loose else number

    def exact(self, label: str) -> int | None:
        """The number of the class with exactly this name."""
        return self._exact.get(_compose(label))

    def find(self, label: str) -> int | None:
        """The number of the class that is meant, or None."""
        for spelling in (label, in_words(label)):
            if (number := self.exact(spelling)) is not None:
                return number
        return self._loose.get(_squeeze(label))


def _compose(text: str) -> str:
    return unicodedata.normalize("NFC", text)  # letters and their accents as one character each


def _squeeze(name: str) -> str:
    return _JOINTS.sub("", _compose(name).casefold())


def text_key(name: str) -> str:
    """What the text tower reads of a name, without characters that are not seen, such as a zero-width space."""
    if name.isascii() and name.isprintable() and "&" not in name:  # most names; ftfy is slow
        return " ".join(name.split()).lower()
    visible = "".join(sign for sign in clean_text(name) if unicodedata.category(sign) != "Cf")
    return " ".join(visible.split()).casefold()
