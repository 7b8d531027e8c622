"""Clip transforms on uint8 tensors, the same for all frames of a clip.

Axes: V views of a video, T frames, H x W pixels; a clip is uint8 (T, 3, H, W).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vitaclip.settings import Config

Box = tuple[int, int, int, int]
"""Top, left, height, width."""
_CROP_TRIES = 10
_SCALES = (1.0, 0.875, 0.75, 0.66)


@dataclass(frozen=True)
class FrameFit(Config):
    """How frames come to the square input of a model, as its image tower was trained."""

    squash: bool = False
    """Whether both sides are resized to that of the square. Else the shorter one is, and the longer one is cropped."""
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    """How pixels between pixels are computed."""

    def resize(self, clip: Tensor, size: int) -> Tensor:
        """Resize to uint8 (T, 3, size, size), or else to (T, 3, size, W*size//H) or (T, 3, H*size//W, size): the
        shorter side has `size` pixels, and the ratio of the sides stays."""
        height, width = clip.shape[-2:]
        short = min(height, width)
        sides = (size, size) if self.squash else (height * size // short, width * size // short)
        return resize(clip, *sides, self.interpolation)


def resize(clip: Tensor, height: int, width: int, interpolation: str = "bicubic") -> Tensor:
    """Resize with antialiasing (equals Pillow's within 2 grey levels), uint8 (T, 3, height, width)."""
    if clip.shape[-2:] == (height, width):
        return clip
    return F.interpolate(clip, size=(height, width), mode=interpolation, antialias=True)


def spatial_views(clip: Tensor, size: int, crops: int) -> Tensor:
    """Square crops spread evenly along the longer side, central on the shorter: uint8 (crops, T, 3, size, size).

    1 crop is the centre; 3 are left, centre, right (or top, centre, bottom). No side may be shorter than `size`.
    """
    slack_y, slack_x = clip.shape[-2] - size, clip.shape[-1] - size
    if crops == 1:
        places = [(slack_y // 2, slack_x // 2)]
    elif slack_x >= slack_y:
        places = [(slack_y // 2, slack_x * crop // (crops - 1)) for crop in range(crops)]
    else:
        places = [(slack_y * crop // (crops - 1), slack_x // 2) for crop in range(crops)]
    return torch.stack([clip[..., y : y + size, x : x + size] for y, x in places])


def crop_box(
    frame_height: int,
    frame_width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> Box:
    """Inception's training crop: a box of random area and shape inside the frame.

    After ten boxes that do not fit: the largest central box whose shape lies in `ratio`.
    Its area, as a fraction of the frame's, is drawn from the range `scale`; its width over its height from `ratio`, by
    the logarithm. Source: Szegedy et al. 2015; algorithm as in torchvision's RandomResizedCrop.
    """
    area = frame_height * frame_width
    for _ in range(_CROP_TRIES):
        box_area = area * rng.uniform(*scale)
        box_ratio = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        width, height = round(math.sqrt(box_area * box_ratio)), round(math.sqrt(box_area / box_ratio))
        if 0 < width <= frame_width and 0 < height <= frame_height:
            top = int(rng.integers(frame_height - height + 1))
            left = int(rng.integers(frame_width - width + 1))
            return top, left, height, width
    height, width = frame_height, frame_width
    if width / height < ratio[0]:
        height = max(1, min(frame_height, round(width / ratio[0])))
    elif width / height > ratio[1]:
        width = max(1, min(frame_width, round(height * ratio[1])))
    return (frame_height - height) // 2, (frame_width - width) // 2, height, width


def multiscale_crop_box(frame_height: int, frame_width: int, rng: np.random.Generator) -> Box:
    """TSN's training crop: a box in a corner or in the middle of the frame.

    Its sides are 1, 0.875, 0.75 or 0.66 of the shorter side, drawn together among equal or neighbouring ones.
    Source: Wang et al. 2016, section 3.3; X-CLIP and ViFi-CLIP train with it.
    """
    pairs = [(i, j) for i in range(len(_SCALES)) for j in range(len(_SCALES)) if abs(i - j) <= 1]
    short = min(frame_height, frame_width)
    height, width = (max(1, int(short * _SCALES[number])) for number in pairs[rng.integers(len(pairs))])
    down, right = ((0, 0), (0, 2), (2, 0), (2, 2), (1, 1))[rng.integers(5)]
    return down * (frame_height - height) // 2, right * (frame_width - width) // 2, height, width
