"""Where everything stands in a text with a learned context, which is the head `learned_text`'s; exported models lay out
new names by it too. Nothing here imports torch.

Axes: K classes, L tokens, M context tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from vitaclip.backbones.tokenizer import Tokenizer
from vitaclip.names import in_words, quoted
from vitaclip.settings import MAX_TOKENS, Config, PositiveInt, bounds


@dataclass(frozen=True, kw_only=True)
class LearnedTextConfig(Config):
    """Settings of the learned context."""

    num_context: Annotated[int, bounds(ge=1, le=MAX_TOKENS, remedy="choose model.head = templates for none")] = 8
    """M, learned tokens beside the class name."""
    per_class: bool = False
    """One context for each class (as published for Kinetics) instead of one for all. A per-class context cannot
    serve classes it was not trained on."""
    class_token_position: Literal["end", "middle", "front"] = "end"
    """Where the class name stands: after the context (end), inside it (middle), or before it (front)."""
    init_words: str = ""
    """Start the context from these words instead of at random; they must make exactly `num_context` tokens."""
    depth: PositiveInt = 1
    """Blocks of the text tower that get learned tokens of their own; behind them the last ones go on as tokens like
    any other (ViFi-CLIP's prompting). 1: the context goes through the tower as it is."""


def lay_out_prompts(
    names: Sequence[str], tokenizer: Tokenizer, config: LearnedTextConfig, context_length: int
) -> tuple[list[list[int]], list[list[int]], list[int]]:
    """The ids (K, L) of prompts `[start][context][name tokens][.][end]`, which are laid out as the tokenizer says, the
    context where the config puts it; the slots (K, M) in them that are kept for the context; and their ends (K,).

    Underscores in names become blanks. The name is tokenized with its full stop, as published: a name that ends in
    punctuation may share a token with it.

    Raises:
        ValueError: if a prompt does not fit the text tower.
    """
    room = tokenizer.room(context_length)
    rows, slots = [], []
    for name in names:
        row, slot = _lay_out_one(in_words(name), tokenizer, config)
        if len(row) > room:
            raise ValueError(
                f"class {quoted(name)} and {config.num_context} context tokens make {len(row) + context_length - room}"
                f" tokens, the text tower takes {context_length}; shorten the name or the context"
            )
        rows.append(row)
        slots.append([len(tokenizer.start) + place for place in slot])
    ids, end = tokenizer.lay_out(rows, context_length)
    return ids, slots, end


def _lay_out_one(name: str, tokenizer: Tokenizer, config: LearnedTextConfig) -> tuple[list[int], list[int]]:
    """One prompt without start and end: its ids, zeros in the slots of the context, and where these slots are."""
    tokens = tokenizer.encode(name + ".")
    length = min(len(tokenizer.encode(name)), len(tokens))
    total = config.num_context
    before = {"end": total, "middle": total // 2, "front": 0}[config.class_token_position]
    row = [*[0] * before, *tokens[:length], *[0] * (total - before), *tokens[length:]]
    return row, [*range(before), *range(before + length, total + length)]
