"""A linear classifier with norm, dropout and bias (EVL), which knows the classes it was trained on and no texts.

Axes: B videos, K classes, E features of a video.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitaclip.backbones.model import CLIP
from vitaclip.parts.contract import DropoutMasks, Head, HeadInputs, drop
from vitaclip.parts.registry import register
from vitaclip.settings import Config, bounds


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(Config):
    """Settings of the classifier."""

    dropout: Annotated[float, bounds(ge=0, lt=1)] = 0.5
    """Rate of dropout before the last layer."""


@register("head", "classifier", ClassifierConfig)
class ClassifierHead(Head):
    """W . dropout(LayerNorm(video)) + b. A class's features are its row of [W | b]."""

    replaces_texts = True
    takes_templates = False
    per_class = "vector"
    class_values = ("linear.weight", "linear.bias")

    def __init__(self, config: ClassifierConfig, inputs: HeadInputs) -> None:
        super().__init__(config, inputs)
        if not inputs.class_names:
            raise ValueError("a classifier needs the class names; give them, or choose another model.head")
        if len(inputs.video_shape) != 1:
            raise ValueError(
                f"a classifier takes one feature of a video, but model.pool gives {inputs.video_shape}; choose another"
                " pool, or integrate with patches = false"
            )
        (width,) = inputs.video_shape
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, len(inputs.class_names))

    def encode(self, names: Sequence[str], backbone: CLIP) -> Tensor:
        """(K, E + 1)."""
        own = torch.tensor(self.indices(names), device=self.linear.weight.device)
        return torch.cat([self.linear.weight, self.linear.bias[:, None]], dim=1)[own]

    def class_features(self, encoded: Tensor) -> Tensor:
        return encoded

    def video_features(self, pooled: Tensor, masks: DropoutMasks | None = None) -> Tensor:
        return drop(self.norm(pooled), self.config.dropout, masks)

    def similarity(self, video_features: Tensor, class_features: Tensor) -> Tensor:
        """The cosines (K,) of a video and the classes' vectors, without bias."""
        return F.cosine_similarity(video_features, class_features[:, :-1], dim=-1)

    def logits(self, video_features: Tensor, class_features: Tensor) -> Tensor:
        return video_features @ class_features[:, :-1].T + class_features[:, -1]
