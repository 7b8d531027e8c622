"""What teaches CLIP's text tower video: a learned context beside the class name (Vita-CLIP, section 3.3; CoOp).

Axes: K classes, L tokens, M context tokens, W channels of the text tower.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitaclip.clip import Tokenizer
from vitaclip.clip.tokenizer import pad_rows
from vitaclip.config import TextConfig, TextPromptConfig
from vitaclip.names import quoted


@dataclass(frozen=True)
class PromptLayout:
    """Where everything stands in the K prompts: `ids` (K, L), the `slots` (K, M) kept for the context, `end` (K,)."""

    ids: Tensor
    slots: Tensor
    end: Tensor

    def to(self, device: torch.device) -> "PromptLayout":
        """The same layout on another device."""
        return PromptLayout(self.ids.to(device), self.slots.to(device), self.end.to(device))


def lay_out(names: Sequence[str], tokenizer: Tokenizer, config: TextPromptConfig, context_length: int) -> PromptLayout:
    """Lay out `[SOS][context][name tokens][.][EOT]`, with the context where the config puts it.

    Underscores in names become blanks. The name is tokenized with its full stop, as published: a name that ends in
    punctuation may share a token with it.

    Raises:
        ValueError: if there is no name, or if a prompt does not fit the text tower.
    """
    if not names:
        raise ValueError("the list of class names is empty; give at least one")
    rows, slots = [], []
    for name in names:
        row, slot = _lay_out_one(name.replace("_", " "), tokenizer, config)
        if len(row) > context_length:
            raise ValueError(
                f"class {quoted(name)} and {config.num_context} context tokens make {len(row)} tokens,"
                f" the text tower takes {context_length}; shorten the name or the context"
            )
        rows.append(row)
        slots.append(slot)
    batch = pad_rows(rows)
    return PromptLayout(batch.ids, torch.tensor(slots), batch.end)


def _lay_out_one(name: str, tokenizer: Tokenizer, config: TextPromptConfig) -> tuple[list[int], list[int]]:
    """One prompt: its ids, zeros in the slots of the context, and where these slots are."""
    tokens = tokenizer.encode(name + ".")
    name_length = min(len(tokenizer.encode(name)), len(tokens))
    total = config.num_context
    before = {"end": total, "middle": total // 2, "front": 0}[config.class_token_position]
    after = total - before
    row = [
        tokenizer.start_id,
        *[0] * before,
        *tokens[:name_length],
        *[0] * after,
        *tokens[name_length:],
        tokenizer.end_id,
    ]
    first_after = 1 + before + name_length
    return row, [*range(1, 1 + before), *range(first_after, first_after + after)]


class TextPrompts(nn.Module):
    """The learned context: (M, W) shared by all classes, or (K, M, W), one for each."""

    def __init__(
        self,
        config: TextPromptConfig,
        text: TextConfig,
        num_classes: int,
        init: Tensor | None = None,
    ) -> None:
        """Start from `init` (M, W), token embeddings of given words, or at random, N(0, 0.02)."""
        super().__init__()
        self.config = config
        contexts = (num_classes,) if config.per_class else ()
        shape = (*contexts, config.num_context, text.width)
        start = torch.empty(shape).normal_(std=0.02) if init is None else init.expand(shape).clone()
        self.context = nn.Parameter(start)

    def forward(self, layout: PromptLayout, token_embed: nn.Embedding, places: Tensor | None = None) -> Tensor:
        """Token embeddings (K, L, W) of the prompts, the context in its slots; a context per class is found by its
        class number, in `places` (K,).
        """
        embeddings = token_embed(layout.ids)
        rows = torch.arange(len(layout.ids), device=embeddings.device)[:, None]
        context = self.context if places is None else self.context[places]
        context = context.expand(len(layout.ids), -1, -1).to(embeddings.dtype)
        return embeddings.index_put((rows, layout.slots), context)
