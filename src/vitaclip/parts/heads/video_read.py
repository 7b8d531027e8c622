"""Texts that are read in the light of the video (X-CLIP, section 3.3; arXiv 2208.02816).

Axes: B videos, N patches, K classes, D embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitaclip.backbones.transformer import MLP
from vitaclip.parts.contract import (
    CosineHead,
    DropoutMasks,
    HeadInputs,
    count_heads,
    l2_normalize,
    start_linear,
    without_autocast,
)
from vitaclip.parts.registry import register
from vitaclip.settings import Config, NonNegativeInt


@dataclass(frozen=True, kw_only=True)
class VideoReadConfig(Config):
    """Settings of texts that are read in the light of the video."""

    layers: NonNegativeInt = 2
    """Layers in which a text looks at the patches of a video."""
    heads: NonNegativeInt = 0
    """Heads of these layers. 0: one for each 64 of D."""
    alpha: float = 0.1
    """What the video's part of a text is multiplied with at the start of training."""
    train_scale: bool = False
    """Train the temperature, which is frozen in the published code."""


@register("head", "video_read", VideoReadConfig)
class VideoReadHead(CosineHead):
    """The cosine of a video's feature and t + alpha * u, where u has started from the text t and read the patches."""

    requires = frozenset({"patches"})
    learns_texts = False
    comparable = False

    def __init__(self, config: VideoReadConfig, inputs: HeadInputs) -> None:
        super().__init__(config, inputs)
        width = inputs.backbone.config.embed_dim
        heads = count_heads(config.heads, width, "head video_read", f"D = {width}")
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(ReadingLayer(width, heads) for _ in range(config.layers))
        self.alpha = nn.Parameter(torch.full((width,), config.alpha))
        self.add_temperature(inputs.backbone)
        self.logit_scale.requires_grad_(config.train_scale)

    @classmethod
    def takes(cls, inputs: HeadInputs) -> tuple[int, ...]:
        """The video's feature and those of its patches."""
        config = inputs.backbone.config
        return 1 + config.vision.num_patches, config.embed_dim

    def class_features(self, encoded: Tensor) -> Tensor:
        """As they are: their length decides how much the video's part weighs."""
        return encoded

    def combine(self, encoded: Sequence[Tensor]) -> Tensor:
        """The mean of several texts as they are."""
        return torch.stack(list(encoded)).mean(dim=0)

    def video_features(self, pooled: Tensor, masks: DropoutMasks | None = None) -> Tensor:
        """As they are: (B, 1 + N, D)."""
        return pooled

    def logits(self, video_features: Tensor, class_features: Tensor) -> Tensor:
        """(..., 1 + N, D), (K, D) -> (..., K)."""
        read = class_features + self.alpha * self.read(video_features[..., 1:, :], class_features)
        with without_autocast(video_features.device.type):
            videos, texts = l2_normalize(video_features[..., 0, :]), l2_normalize(read)
            return self.logit_scale.exp() * (texts @ videos[..., None])[..., 0]

    def read(self, patches: Tensor, texts: Tensor) -> Tensor:
        """What texts (K, D) become as they read the patches (..., N, D) of a video: (..., K, D)."""
        patches = self.norm(patches)
        read = texts
        for layer in self.layers:
            read = layer(read, patches)
        return read


class ReadingLayer(nn.Module):
    """Texts look at the patches of a video, then go through an MLP. Queries, keys and values have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, 4 * width, "quick_gelu")
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                start_linear(layer)

    def forward(self, texts: Tensor, patches: Tensor) -> Tensor:
        """Texts (K, D), the same for all videos as in the first layer, or (..., K, D), and patches (..., N, D)."""
        query = self._split_heads(self.query(self.norm1(texts)))
        key, value = self._split_heads(self.key(patches)), self._split_heads(self.value(patches))
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        mixed = (scores.softmax(dim=-1) @ value).transpose(-3, -2).flatten(-2)
        texts = texts + self.out(mixed)
        return texts + self.mlp(self.norm2(texts))

    def _split_heads(self, x: Tensor) -> Tensor:
        """(..., L, D) -> (..., heads, L, D / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
