"""The text tower, a transformer with the options of all families.

Axes: K texts, L tokens, W channels, D embedding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vitaclip.backbones.config import CLIPConfig, TextConfig
from vitaclip.backbones.transformer import Tower, checkpoint_activations

CHUNK_SIZE = 128
"""Texts that go through the tower at a time on a CPU, of like length, so that few carry padding. A GPU takes as many as
`MAX_STORED_TEXTS`, because launching more kernels costs it more than padding."""
MAX_STORED_TEXTS = 1024
"""Texts whose activations are stored for the backward pass. Those beyond are computed again when it reaches them: any
number of texts trains with the activations of so many, for at most half as much work again."""


class TextTower(Tower):
    """A transformer whose output at one token, mostly the end of the text, is the text's feature."""

    config: TextConfig

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        text = config.text
        self.config = text
        self.token_embed = nn.Embedding(text.vocab_size, text.width)
        self.pos_embed = nn.Parameter(torch.empty(text.context_length, text.width))
        self._add_blocks()
        self.norm_final = nn.LayerNorm(text.width, text.norm_epsilon)
        self._add_projection(config.embed_dim)

    def forward(
        self, embeddings: Tensor, end: Tensor, slots: Tensor | None = None, deep: Sequence[Tensor] = ()
    ) -> Tensor:
        """Encode token embeddings, learned or looked up.

        Where the order is causal, tokens past a text's end never change its feature: L need only reach the last end.
        Where all tokens see all, L is the context length.

        Args:
            embeddings: (K, L, W) without positions.
            end: (K,) int64, where the token stands whose output is the text's feature.
            slots: (K, M) int64, where learned tokens stand.
            deep: tokens (M, W) that replace those in `slots` before the second block, the third, and so on; without
                positions.

        Returns:
            (K, D) features, not of unit length.
        """
        if torch.compiler.is_exporting():  # to cut texts into chunks by their length, values would have to be known
            return self._encode(embeddings, end, slots, deep)
        causal = self.config.order == "causal"
        assert causal or embeddings.shape[1] == self.config.context_length, "padding is seen, so it has to be there"
        order = end.argsort()
        end = end[order]
        slots = None if slots is None else slots[order]
        lengths = (end + 1).tolist() if causal else [embeddings.shape[1]] * len(end)
        features = []
        size = MAX_STORED_TEXTS if embeddings.device.type == "cuda" else CHUNK_SIZE
        for start, texts in zip(range(0, len(end), size), embeddings[order].split(size), strict=True):
            chunk = slice(start, start + len(texts))
            inputs = (
                texts[:, : lengths[start + len(texts) - 1]],
                end[chunk],
                None if slots is None else slots[chunk],
                deep,
            )
            if torch.is_grad_enabled() and start >= MAX_STORED_TEXTS:
                features.append(checkpoint_activations(self._encode, *inputs))
            else:
                features.append(self._encode(*inputs))
        return torch.cat(features)[order.argsort()]

    def _encode(self, embeddings: Tensor, end: Tensor, slots: Tensor | None, deep: Sequence[Tensor]) -> Tensor:
        """All texts at once."""
        x = embeddings + self.pos_embed[: embeddings.shape[1]]
        texts = torch.arange(x.shape[0], device=x.device)
        for number, block in enumerate(self.blocks):
            if 1 <= number <= len(deep):
                assert slots is not None
                tokens = deep[number - 1].to(x.dtype).expand(x.shape[0], -1, -1)
                x = x.index_put((texts[:, None], slots), tokens)
            x = block(x, causal=self.config.order == "causal")
        return self.project(self.norm_final(x[texts, end]))
