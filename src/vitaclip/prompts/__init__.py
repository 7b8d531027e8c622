"""All that trains: prompts of the image tower, context of the text tower or a linear probe in its place, and the
temperature of the logits.
"""

from torch import Tensor, nn

from vitaclip.prompts.linear import ClassVectors
from vitaclip.prompts.text import PromptLayout, TextPrompts, lay_out
from vitaclip.prompts.video import BlockPrompts, VideoPrompts

__all__ = ["BlockPrompts", "ClassVectors", "PromptLayout", "Prompts", "TextPrompts", "VideoPrompts", "lay_out"]


class Prompts(nn.Module):
    """Everything that training may change. A parameter trains because it lives here."""

    def __init__(self, video: VideoPrompts, text: TextPrompts | ClassVectors | None, logit_scale: Tensor) -> None:
        super().__init__()
        self.video = video
        self.text = text
        self.logit_scale = nn.Parameter(logit_scale.detach().clone())

    def trained_counts(self) -> dict[str, int]:
        """How many numbers train, by kind: global, local, summary, time, cls_proj, text, linear, logit_scale."""
        kinds = self.video.parameters_by_kind()
        for kind, prompts in (("text", TextPrompts), ("linear", ClassVectors)):
            kinds[kind] = list(self.text.parameters()) if isinstance(self.text, prompts) else []
        kinds["logit_scale"] = [self.logit_scale]
        return {kind: sum(p.numel() for p in parameters if p.requires_grad) for kind, parameters in kinds.items()}
