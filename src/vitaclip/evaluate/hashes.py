"""Sums that say which lists, names and templates a result belongs to."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from vitaclip.evaluate.class_texts import ClassTexts


def sha256_of_file(file: Path) -> str:
    """Of its bytes, as `sha256sum` prints it."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def sha256_of_lines(lines: Iterable[str]) -> str:
    """Of the lines, each with its line end, as `sha256sum` prints it of a file that holds them; UTF-8."""
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def text_hashes(texts: ClassTexts) -> dict[str, str]:
    """Sums of the candidates' names, of what stands for them in a text, and of templates and descriptions, if any."""
    sums = {"candidates": sha256_of_lines(texts.names), "texts": sha256_of_lines(texts.texts)}
    if texts.templates:
        sums["templates"] = sha256_of_lines(texts.templates)
    if texts.descriptions:
        lines = (f"{name}\t{sentence}" for name, each in texts.descriptions.items() for sentence in each)
        sums["descriptions"] = sha256_of_lines(lines)
    return sums
