"""What may be wrong with a list of class names before a single video is looked at.

Axes: K names, D embedding.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vitaclip.clip import Tokenizer
from vitaclip.evaluate.wording import Wording, encode_names
from vitaclip.model import VitaCLIP

MANY_PIECES_A_WORD = 2.5
"""Tokens over words of a name, from which it counts as broken up; common English words are one token each."""
_JOINED_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


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


def check_names(names: Sequence[str], tokenizer: Tokenizer, longest: int) -> list[NameFinding]:
    """Names that tokenize badly: words run together, underscores, too many tokens, words broken into pieces.

    Args:
        names: class names.
        tokenizer: of the text tower.
        longest: tokens that a name may have, all else of its text taken off.
    """
    findings = []
    for name in names:
        better = suggest(name)
        pieces = tokenizer.pieces(name.replace("_", " "))
        words = len(better.split())
        if len(pieces) > longest:
            problem = f"makes {len(pieces)} tokens, {longest} fit beside the rest of the text"
            findings.append(NameFinding(name, problem, fits=False))
        if _JOINED_WORDS.search(name):
            problem = f"words run together, read as {' | '.join(pieces)}"
            findings.append(NameFinding(name, problem, better))
        elif len(pieces) > MANY_PIECES_A_WORD * words:
            findings.append(NameFinding(name, f"broken up: {' | '.join(pieces)}"))
        elif "_" in name:
            findings.append(NameFinding(name, "underscores, which texts have as blanks", better))
    return findings


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
    similarity = features @ features.T
    first, second = (similarity >= least).triu(diagonal=1).nonzero(as_tuple=True)
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    found = [NearPair(names[a], names[b], float(similarity[a, b])) for a, b in pairs]
    return sorted(found, key=lambda pair: -pair.similarity)


@torch.no_grad()
def check_classes(
    model: VitaCLIP, names: Sequence[str], wording: Wording, near: float
) -> tuple[list[NameFinding], list[NearPair]]:
    """Check names against a model's tokenizer and text tower; near pairs are looked for if all names fit."""
    context = model.clip.config.text.context_length
    learned = model.config.text.num_context > 0 and not wording.templates
    templates = wording.templates or model.config.text.templates
    beside = model.config.text.num_context + 1 if learned else _longest_template(model.tokenizer, templates)
    findings = check_names(names, model.tokenizer, context - 2 - beside)
    if not all(finding.fits for finding in findings):
        return findings, []
    return findings, near_pairs(encode_names(model, names, wording), names, near)


def _longest_template(tokenizer: Tokenizer, templates: Sequence[str]) -> int:
    return max(len(tokenizer.pieces(template.replace("{}", " "))) for template in templates)
