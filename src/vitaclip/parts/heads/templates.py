"""Class names in hand-written texts, with nothing learned but the temperature."""

from dataclasses import dataclass

from vitaclip.parts.contract import CosineHead, HeadInputs
from vitaclip.parts.registry import register


@dataclass(frozen=True, kw_only=True)
class TemplatesConfig:
    """The texts are the model's `templates`."""


@register("head", "templates", TemplatesConfig)
class TemplatesHead(CosineHead):
    """The cosine against names in the model's templates."""

    learns_texts = False

    def __init__(self, config: TemplatesConfig, inputs: HeadInputs) -> None:
        super().__init__(config, inputs)
        self.add_temperature(inputs.backbone)
