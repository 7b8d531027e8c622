"""Class names in hand-written texts, with nothing learned but the temperature."""

from vitaclip.parts.contract import CosineHead, HeadInputs
from vitaclip.parts.registry import NoSettings, register


@register("head", "templates")
class TemplatesHead(CosineHead):
    """The cosine against names in the model's templates."""

    learns_texts = False

    def __init__(self, config: NoSettings, inputs: HeadInputs) -> None:
        super().__init__(config, inputs)
        self.add_temperature(inputs.backbone)
