"""A linear probe: a learned vector for each class, where the features of its text would stand.

Axes: K classes, D embedding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vitaclip.backbones.model import CLIP
from vitaclip.parts.contract import CosineHead, HeadInputs, encode_templates
from vitaclip.parts.registry import NoSettings, register


@register("head", "linear")
class LinearHead(CosineHead):
    """Vectors (K, D) that start where the backbone is without training: at the features of the classes' texts."""

    replaces_texts = True
    per_class = "vector"
    class_values = ("vectors",)

    def __init__(self, config: NoSettings, inputs: HeadInputs) -> None:
        super().__init__(config, inputs)
        backbone, class_names = inputs.backbone, inputs.class_names
        if not class_names:
            raise ValueError("a vector per class needs the class names; give them, or choose another model.head")
        start = torch.zeros(len(class_names), backbone.config.embed_dim)
        if inputs.fresh:
            with torch.no_grad():
                start = encode_templates(backbone, class_names, inputs.templates, self.combine)
        self.vectors = nn.Parameter(start)
        self.add_temperature(backbone)

    def encode(self, names: Sequence[str], backbone: CLIP) -> Tensor:
        """(K, D)."""
        return self.vectors[self.indices(names)]
