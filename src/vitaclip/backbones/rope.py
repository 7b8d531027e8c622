"""Rotary position embedding in two dimensions (RoPE; Su et al. 2021), as PE-Core and EVA-02 have it.

Neighbouring channels of a head form pairs. The first half of the pairs is turned by one coordinate of the patch, the
second half by the other, each pair at a frequency of its own.

Axes: ... any leading axes, L tokens, d channels of a head.
"""

from functools import lru_cache

import torch
from torch import Tensor

from vitaclip.backbones.config import VisionConfig

_BASE = 10_000.0
_EVA02_SIDE = 16
"""Patches along a side of the images that EVA-02 was pretrained on. Coordinates of other grids are stretched to it."""


def rotations(config: VisionConfig, like: Tensor) -> Tensor | None:
    """How the tokens of a frame are turned, cosines and sines (2, L, d / 2), in the precision and on the device of
    `like`; None if they are not."""
    return None if config.rope == "none" else _rotations(config, like.dtype, like.device)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _rotations(config: VisionConfig, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Angles are computed in float64, so that each precision gets the nearest number. A class token is not turned.

    What was made in inference mode could not be used in training, so that mode is left here.
    """
    quarter = config.width // config.heads // 4
    frequency = _BASE ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    along = torch.arange(config.grid_side, dtype=torch.float64)
    along = along + 1 if config.rope == "pe" else along
    stretched_to = config.rope_side or (config.grid_side if config.rope == "pe" else _EVA02_SIDE)
    along = along * stretched_to / config.grid_side
    row, column = torch.meshgrid(along, along, indexing="ij")
    coordinates = (column, row) if config.rope == "pe" else (row, column)
    angles = torch.cat([each.flatten()[:, None] * frequency for each in coordinates], dim=1)
    if config.class_token:
        angles = torch.cat([torch.zeros_like(angles[:1]), angles])
    return torch.stack([angles.cos(), angles.sin()]).to(device, dtype)


def rotate(x: Tensor, rope: Tensor | None) -> Tensor:
    """Turn the channels of tokens (..., L, d). Tokens behind those that `rope` is made for stay as they are."""
    if rope is None:
        return x
    own, others = x[..., : rope.shape[1], :], x[..., rope.shape[1] :, :]
    cos, sin = rope[:, : x.shape[-2]].to(x.dtype)
    even, odd = own[..., 0::2], own[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
    return torch.cat([turned, others], dim=-2) if others.numel() else turned
