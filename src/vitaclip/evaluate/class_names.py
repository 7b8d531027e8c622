"""What may be wrong with a list of class names before a single video is looked at.

Axes: K names, D embedding.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitaclip.backbones import Tokenizer
from vitaclip.evaluate.class_texts import ClassPrompts, encode_classes, resolve_templates
from vitaclip.model import VideoModel
from vitaclip.names import describe_duplicate, first_duplicates

MANY_PIECES_A_WORD = 2.5
"""Tokens over words of a name, from which it counts as broken up; common English words are one token each."""
FEWEST_ENTRIES = 10_000
"""Of a tokenizer that knows ordinary words (CLIP's has 49,408): with fewer, what it breaks up says nothing of them."""
_JOINED_WORDS = re.compile(  # digits stay with a single capital: 3D
    r"(?<=[a-z])(?=[A-Z]|[0-9]+[A-Z])|(?<=[0-9])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])"
)
_SHOWN_PIECES = 12
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class NameFinding:
    """Something to look at in one name."""

    name: str
    problem: str
    suggestion: str = ""
    """What to write instead; empty if there is nothing to suggest."""
    fits: bool = True
    """Whether the text tower can take it."""


@dataclass(frozen=True)
class NearPair:
    """Two names whose texts the model can hardly tell apart."""

    first: str
    second: str
    similarity: float
    """Cosine of their text features."""


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
            findings.append(
                NameFinding(name, f"{describe_duplicate(name, names[first])} {names[first]!r}, class {first}")
            )
            continue
        better = suggest(name)
        pieces = tokenizer.pieces(name.replace("_", " "))
        words = len(better.split())
        if len(pieces) > longest:
            problem = f"makes {len(pieces)} tokens, {longest} fit beside the rest of the text"
            findings.append(NameFinding(name, problem, fits=False))
        if _JOINED_WORDS.search(name):
            read = f", read as {_show(pieces)}" if pieces_count else ""
            findings.append(NameFinding(name, f"words run together{read}", better))
        elif pieces_count and len(pieces) > MANY_PIECES_A_WORD * words:
            findings.append(NameFinding(name, f"broken up: {_show(pieces)}"))
        elif "_" in name:
            findings.append(NameFinding(name, "underscores, which texts have as blanks", better))
    return findings


def _show(pieces: Sequence[str]) -> str:
    return " | ".join([*pieces[:_SHOWN_PIECES], *(["..."] if len(pieces) > _SHOWN_PIECES else [])])


def suggest(name: str) -> str:
    """The name in words: blanks for underscores and between words that run together, then in small letters."""
    spaced = name.replace("_", " ")
    if not _JOINED_WORDS.search(spaced):
        return " ".join(spaced.split())
    return " ".join(_JOINED_WORDS.sub(" ", spaced).lower().split())


def near_pairs(features: Tensor, names: Sequence[str], least: float) -> list[NearPair]:
    """Pairs whose cosine is at least `least`, most similar first.

    Args:
        features: (K, D) of unit length.
        names: K names.
        least: in [-1, 1].
    """
    found: list[NearPair] = []
    for start in range(0, len(names), _ROWS_AT_ONCE):  # (K, K) would be too large for many names
        similarity = features[start : start + _ROWS_AT_ONCE] @ features.T
        first, second = (similarity >= least).triu(diagonal=1 + start).nonzero(as_tuple=True)
        pairs = zip(first.tolist(), second.tolist(), strict=True)
        found += [NearPair(names[start + a], names[b], float(similarity[a, b])) for a, b in pairs]
    return sorted(found, key=lambda pair: -pair.similarity)


@torch.no_grad()
def check_classes(
    model: VideoModel, names: Sequence[str], prompts: ClassPrompts, near: float
) -> tuple[list[NameFinding], list[NearPair]]:
    """Check names against a model's tokenizer and text tower; near pairs are looked for if all names fit, among those
    that are not the same."""
    context, tokenizer = model.backbone.config.text.context_length, model.backbone.tokenizer
    templates, _ = resolve_templates(model, names, prompts)
    beside = _longest_template(tokenizer, templates) if templates else model.head.tokens_beside
    findings = check_names(
        names, tokenizer, tokenizer.layout.room(context) - beside, pieces_count=knows_words(tokenizer)
    )
    if not all(finding.fits for finding in findings):
        return findings, []
    distinct = [names[place] for place in sorted(set(first_duplicates(names)))]
    return findings, near_pairs(encode_classes(model, distinct, prompts).features, distinct, near)


def _longest_template(tokenizer: Tokenizer, templates: Sequence[str]) -> int:
    return max(len(tokenizer.pieces(template.replace("{}", " "))) for template in templates)
