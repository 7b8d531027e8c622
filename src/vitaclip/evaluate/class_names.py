"""What may be wrong with a list of class names before a single video is looked at."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vitaclip.backbones import Tokenizer
from vitaclip.evaluate.class_texts import ClassPrompts, resolve_templates
from vitaclip.model import VideoModel
from vitaclip.names import first_duplicates

MANY_PIECES_A_WORD = 2.5
"""Tokens over words of a name, from which it counts as broken up; common English words are one token each."""
FEWEST_ENTRIES = 10_000
"""Of a tokenizer that knows ordinary words (CLIP's has 49,408): with fewer, what it breaks up says nothing of them."""
_JOINED_WORDS = re.compile(  # digits stay with a single capital: 3D
    r"(?<=[a-z])(?=[A-Z]|[0-9]+[A-Z])|(?<=[0-9])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])"
)
_SHOWN_PIECES = 12


@dataclass(frozen=True)
class NameFinding:
    """Something to look at in one name."""

    name: str
    problem: str
    suggestion: str = ""
    """What to write instead; empty if there is nothing to suggest."""
    fits: bool = True
    """Whether the text tower can take it."""


def knows_words(tokenizer: Tokenizer) -> bool:
    """Whether ordinary words are whole to a tokenizer; that of the miniature model knows its own world's alone."""
    return tokenizer.vocab_size >= FEWEST_ENTRIES


def check_names(names: Sequence[str], tokenizer: Tokenizer, longest: int, *, pieces_count: bool) -> list[NameFinding]:
    """Names that come twice, and those that tokenize badly: words run together, underscores, too many tokens, words
    broken into pieces.

    Args:
        names: class names.
        tokenizer: of the text tower.
        longest: tokens that a name may have, all else of its text taken off.
        pieces_count: whether it means anything that a word is broken up: see `knows_words`.
    """
    findings = []
    for number, (name, first) in enumerate(zip(names, first_duplicates(names), strict=True)):
        if first != number:
            same = f"reads the same as {names[first]!r}, class {first}"
            findings.append(NameFinding(name, same))
            continue
        better, pieces = suggest(name), tokenizer.pieces(name.replace("_", " "))
        shown = " | ".join([*pieces[:_SHOWN_PIECES], *(["..."] if len(pieces) > _SHOWN_PIECES else [])])
        if len(pieces) > longest:
            problem = f"makes {len(pieces)} tokens, {longest} fit beside the rest of the text"
            findings.append(NameFinding(name, problem, fits=False))
        if _JOINED_WORDS.search(name):
            read = f", read as {shown}" if pieces_count else ""
            findings.append(NameFinding(name, f"words run together{read}", better))
        elif pieces_count and len(pieces) > MANY_PIECES_A_WORD * len(better.split()):
            findings.append(NameFinding(name, f"broken up: {shown}"))
        elif "_" in name:
            findings.append(NameFinding(name, "underscores, which texts have as blanks", better))
    return findings


def suggest(name: str) -> str:
    """The name in words: blanks for underscores and between words that run together, then in small letters.

    >>> suggest("ApplyEyeMakeup"), suggest("TV_Show")
    ('apply eye makeup', 'TV Show')
    """
    spaced = " ".join(name.replace("_", " ").split())
    return _JOINED_WORDS.sub(" ", spaced).lower() if _JOINED_WORDS.search(spaced) else spaced


def check_classes(model: VideoModel, names: Sequence[str], prompts: ClassPrompts) -> list[NameFinding]:
    """Check names against a model's tokenizer, and the room that its text tower has for a name."""
    tokenizer, beside = model.backbone.tokenizer, model.head.tokens_beside
    if templates := resolve_templates(model, names, prompts)[0]:
        beside = max(len(tokenizer.pieces(template.replace("{}", " "))) for template in templates)
    longest = tokenizer.layout.room(model.backbone.config.text.context_length) - beside
    return check_names(names, tokenizer, longest, pieces_count=knows_words(tokenizer))
