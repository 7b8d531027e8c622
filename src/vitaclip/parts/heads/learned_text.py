"""A learned context beside the class name in the text tower (Vita-CLIP, section 3.3; CoOp).

Axes: K classes, L tokens, M context tokens, W channels of the text tower.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vitaclip.backbones import CLIP, Tokenizer
from vitaclip.names import in_words, quoted
from vitaclip.parts.contract import CosineHead, HeadInputs
from vitaclip.parts.registry import register
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


class PromptLayout(NamedTuple):
    """Where everything stands in the K prompts: `ids` (K, L), the `slots` (K, M) kept for the context, `end` (K,)."""

    ids: Tensor
    slots: Tensor
    end: Tensor


def lay_out(names: Sequence[str], tokenizer: Tokenizer, config: LearnedTextConfig, context_length: int) -> PromptLayout:
    """Lay out `[start][context][name tokens][.][end]` as the tokenizer's layout says, the context where the config puts
    it.

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
        slots.append(slot)
    batch = tokenizer.lay_out(rows, context_length)
    return PromptLayout(batch.ids, torch.tensor(slots) + len(tokenizer.start), batch.end)


def _lay_out_one(name: str, tokenizer: Tokenizer, config: LearnedTextConfig) -> tuple[list[int], list[int]]:
    """One prompt without start and end: its ids, zeros in the slots of the context, and where these slots are."""
    tokens = tokenizer.encode(name + ".")
    length = min(len(tokenizer.encode(name)), len(tokens))
    total = config.num_context
    before = {"end": total, "middle": total // 2, "front": 0}[config.class_token_position]
    row = [*[0] * before, *tokens[:length], *[0] * (total - before), *tokens[length:]]
    return row, [*range(before), *range(before + length, total + length)]


@register("head", "learned_text", LearnedTextConfig)
class LearnedTextHead(CosineHead):
    """The context: (M, W) shared by all classes, or (K, M, W), one for each; it starts normal, with a std of 0.02."""

    def __init__(self, config: LearnedTextConfig, inputs: HeadInputs) -> None:
        super().__init__(config, inputs)
        backbone, class_names = inputs.backbone, inputs.class_names
        self.per_class = "context" if config.per_class else ""
        self.class_values = ("context",) if config.per_class else ()
        if config.per_class and not class_names:
            raise ValueError("a context per class needs the class names; give them, or set per_class = false")
        contexts = (len(class_names),) if config.per_class else ()
        shape = (*contexts, config.num_context, backbone.config.text.width)
        words = self._embed_words(backbone) if config.init_words and inputs.fresh else None
        start = torch.empty(shape).normal_(std=0.02) if words is None else words.expand(shape).clone()
        self.context = nn.Parameter(start)
        text = backbone.config.text
        if config.depth > text.depth:
            raise ValueError(
                f"model.head.depth = {config.depth} is more than the {text.depth} blocks of the text tower"
            )
        later = (config.num_context, text.width)
        self.deep = nn.ParameterList(torch.empty(later).normal_(std=0.02) for _ in range(config.depth - 1))
        self.add_temperature(backbone)
        self._last_layout: tuple[Sequence[str], PromptLayout] | None = None

    def encode(self, names: Sequence[str], backbone: CLIP) -> Tensor:
        """(K, D), not of unit length."""
        ids, slots, end = self._lay_out(tuple(names), backbone)
        embeddings = backbone.text.token_embed(ids)
        context = self.context[self.indices(names)] if self.per_class else self.context
        rows = torch.arange(len(ids), device=ids.device)[:, None]
        context = context.expand(len(ids), -1, -1).to(embeddings.dtype)
        features: Tensor = backbone.text(embeddings.index_put((rows, slots), context), end, slots, list(self.deep))
        return features

    def _lay_out(self, names: tuple[str, ...], backbone: CLIP) -> PromptLayout:
        """The layout of names, on the context's device; the last is kept, since every training step asks again."""
        if self._last_layout is None or self._last_layout[0] != names:
            length = backbone.config.text.context_length
            self._last_layout = names, lay_out(names, backbone.tokenizer, self.config, length)
        layout = PromptLayout(*(tensor.to(self.context.device) for tensor in self._last_layout[1]))
        self._last_layout = names, layout
        return layout

    def _embed_words(self, backbone: CLIP) -> Tensor:
        """Token embeddings (M, W) of the words that the context starts from."""
        words = self.config.init_words
        ids = backbone.tokenizer.encode(in_words(words))
        if len(ids) != self.config.num_context:
            raise ValueError(f"init_words = {words!r} makes {len(ids)} tokens; set num_context = {len(ids)}")
        return backbone.text.token_embed.weight[ids].detach()
