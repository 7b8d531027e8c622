"""Class names in hand-written texts, with nothing learned but the temperature."""

from collections.abc import Sequence
from dataclasses import dataclass

from vitaclip.backbones import CLIP
from vitaclip.parts.contract import CosineHead
from vitaclip.parts.registry import register


@dataclass(frozen=True, kw_only=True)
class TemplatesConfig:
    """The texts are the model's `templates`."""


@register("head", "templates", TemplatesConfig)
class TemplatesHead(CosineHead):
    """The cosine against names in the model's templates."""

    learns_texts = False

    def __init__(
        self,
        config: TemplatesConfig,
        backbone: CLIP,
        class_names: Sequence[str],
        templates: Sequence[str],
        *,
        fresh: bool,
    ) -> None:
        super().__init__(config, backbone, class_names, templates, fresh=fresh)
        self.add_temperature(backbone)
