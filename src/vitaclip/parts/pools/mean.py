"""The mean of the frames' features (CLIP4Clip's parameter-free pool; Vita-CLIP, ViFi-CLIP)."""

from collections.abc import Sequence

from torch import Tensor

from vitaclip.backbones.vision import Trace, VisionTower
from vitaclip.parts.contract import DropoutMasks, Pool
from vitaclip.parts.registry import register


@register("pool", "mean")
class MeanPool(Pool):
    """The mean over the frames of what the tower itself makes of a frame."""

    learns = False

    def forward(self, traces: Sequence[Trace], tower: VisionTower, masks: DropoutMasks | None) -> Tensor:
        """(B, D), not of unit length."""
        return tower.pooled(traces[-1].output).mean(dim=1)
