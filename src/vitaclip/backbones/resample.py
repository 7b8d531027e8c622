"""A CLIP for another input size: its position embeddings resampled.

Axes: N patches, C channels.
"""

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vitaclip.backbones import CLIP


def resize_input(clip: CLIP, image_size: int) -> CLIP:
    """The same CLIP for square images of `image_size` pixels a side; all weights but the positions are shared.

    Raises:
        ValueError: if the size is no multiple of the patch size.
    """
    config = replace(clip.config, vision=replace(clip.config.vision, image_size=image_size))
    state = clip.state_dict()
    side = image_size // config.vision.patch_size
    state["vision.pos_embed"] = resize_positions(state["vision.pos_embed"], side)
    return CLIP.from_state(config, state)


def resize_positions(positions: Tensor, side: int) -> Tensor:
    """Resample position embeddings (1 + N, C), the cls token's first, to (1 + side * side, C).

    Bicubic with antialiasing, as open_clip does it.
    """
    cls, patches = positions[:1], positions[1:]
    old = math.isqrt(len(patches))
    grid = patches.view(1, old, old, -1).permute(0, 3, 1, 2)
    resized = F.interpolate(grid, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([cls, resized[0].flatten(1).T])
