"""Names from elsewhere, shown so that they can do nothing."""

import sys
import unicodedata

import pytest

from vitaclip.cli.screen import print_table, terminal
from vitaclip.strings import printable

HOSTILE = "a [/b]\x1b[2J\x1b]0;title\x07\n\u202egnp.mp4\u2028\x9b31m\udcff"


def test_no_control_character_is_left() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    left = {c for c in printable(every) if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert left == {"\u200c", "\u200d"}  # which words and emoji are spelled with


@pytest.mark.parametrize("text", ["café", "日本語", "a [/b]", "👩\u200d🚀", "\u0645\u06cc\u200c\u062e", "c:\\new"])
def test_ordinary_names_stay(text: str) -> None:
    assert printable(text) == text


def test_terminal_prints_names_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    terminal().print(f"skipped: {HOSTILE}", soft_wrap=True)
    print_table(terminal(), HOSTILE, (HOSTILE,), [(HOSTILE,)])
    printed = capsys.readouterr().out
    assert not set("\x1b\x07\x9b\u202e\u2028") & set(printed)
    assert printed.splitlines()[0] == f"skipped: {printable(HOSTILE)}"
