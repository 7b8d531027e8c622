"""Texts that are shown: those from elsewhere made harmless, and hints about misspelled names."""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence

_CONTROLS = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode categories: control, format (bidirectional marks, zero width), surrogate, line and paragraph separator."""
_JOINERS = "\u200c\u200d"
"""Format characters that words of some scripts, and emoji, are spelled with."""
_LINE_END = 400
"""Characters that `one_line` keeps of each end."""


def defuse(text: str) -> str:
    r"""A csv cell that no spreadsheet takes for a formula: one that begins like a formula gets an apostrophe in front.

    >>> defuse("=1+1")
    "'=1+1"
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def printable(text: str) -> str:
    r"""The text with every control character as an escape: names from elsewhere may hold any.

    Line ends would forge lines, ESC drives the terminal, and bidirectional controls show a name in another order.

    >>> printable("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    """
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in _CONTROLS and c not in _JOINERS else c for c in text)


def storable(text: object) -> str:
    r"""The text as any file holds it: bytes of a file name that are not UTF-8 stand as escapes.

    >>> storable("latin\udce9.mp4")
    'latin\\udce9.mp4'
    """
    return str(text).encode(errors="backslashreplace").decode()


def one_line(text: object) -> str:
    r"""A text, or the message of an error, as one line of bounded length.

    >>> one_line(ValueError("no such\n  place"))
    'no such place'
    """
    line = " ".join(str(text).split())
    return line if len(line) <= 2 * _LINE_END else f"{line[:_LINE_END]} ... {line[-_LINE_END:]}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a message about an unknown name; empty if no known name is close.

    >>> did_you_mean("ucf110", ["ucf101", "ssv2"])
    " (did you mean 'ucf101'?)"
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def first_lines(problems: Sequence[str], most: int = 10) -> list[str]:
    """The first problems, and how many more there are.

    >>> first_lines(["a", "b", "c"], most=2)
    ['a', 'b', '... and 1 more']
    """
    more = len(problems) - most
    return [*problems[:most], *([f"... and {more} more"] if more > 0 else [])]


def counted(count: int, noun: str) -> str:
    """A number with what it counts.

    >>> counted(1, "video"), counted(2, "video")
    ('1 video', '2 videos')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
