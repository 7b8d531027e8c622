"""The mean of the frames' features (CLIP4Clip's parameter-free pool; Vita-CLIP, ViFi-CLIP)."""

from torch import Tensor

from vitaclip.backbones.vision import VisionTower
from vitaclip.parts.contract import DropoutMasks, Pool
from vitaclip.parts.registry import register


@register("pool", "mean")
class MeanPool(Pool):
    """The mean over the frames of what the tower itself makes of a frame."""

    def forward(self, read: Tensor, tower: VisionTower, masks: DropoutMasks | None) -> Tensor:
        """(B, T, D) -> (B, D), not of unit length."""
        return read.mean(dim=1)
