"""A learned context beside the class name in the text tower (Vita-CLIP, section 3.3; CoOp).

Axes: K classes, L tokens, M context tokens, W channels of the text tower.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vitaclip.backbones.model import CLIP
from vitaclip.backbones.tokenizer import Tokenizer
from vitaclip.names import in_words
from vitaclip.parts.contract import CosineHead, HeadInputs
from vitaclip.parts.heads.prompt_layout import LearnedTextConfig, lay_out_prompts
from vitaclip.parts.registry import register


class PromptLayout(NamedTuple):
    """Where everything stands in the K prompts: `ids` (K, L), the `slots` (K, M) kept for the context, `end` (K,)."""

    ids: Tensor
    slots: Tensor
    end: Tensor


def lay_out(names: Sequence[str], tokenizer: Tokenizer, config: LearnedTextConfig, context_length: int) -> PromptLayout:
    """`lay_out_prompts` in tensors."""
    return PromptLayout(*map(torch.tensor, lay_out_prompts(names, tokenizer, config, context_length)))


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
        context = self.context[self.indices(names)] if self.per_class else self.context
        return self.encode_prompts(self._lay_out(tuple(names), backbone), context, backbone)

    def encode_prompts(self, layout: PromptLayout, context: Tensor, backbone: CLIP) -> Tensor:
        """`encode` of names that are laid out, with the context (M, W) of all or (K, M, W) of each."""
        ids, slots, end = layout
        embeddings = backbone.text.token_embed(ids)
        rows = torch.arange(ids.shape[0], device=ids.device)[:, None]
        context = context.expand(ids.shape[0], -1, -1).to(embeddings.dtype)
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
