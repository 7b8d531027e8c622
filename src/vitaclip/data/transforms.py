"""What happens to frames between decoding and the batch: resizing and crops; of training clips, augmentation too. One
draw serves all frames of a clip, so that nothing flickers (the published code of X-CLIP and ViFi-CLIP draws the colour
jitter anew for each frame, which no camera does).

Axes: V views of a video, T frames, H x W pixels as decoded, S x S pixels of a crop; a clip is uint8 (T, 3, H, W).
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance
from torch import Tensor

from vitaclip.data.config import AugmentConfig
from vitaclip.data.randaugment import RandAugment, parse_randaugment
from vitaclip.settings import Config, PositiveInt

Box = tuple[int, int, int, int]
"""Top, left, height, width."""
_ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
_CROP_TRIES = 10
# RandAugment works on whole frames; larger ones than these (320 for crops of 224) would only cost time.
_AUGMENTED_SHORT_SIDE_PER_SIZE = 10 / 7
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


@dataclass(frozen=True)
class TrainTransform(Config):
    """What happens to a training clip: RandAugment on whole frames, a random crop, a flip, colours.

    One draw serves all frames of a clip.
    """

    size: PositiveInt = 224
    """Side of the result in pixels (S)."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """How much, and which."""
    fit: FrameFit = field(default_factory=FrameFit)
    """How frames come to the square."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.randaugment  # a wrong setting is an error now, not with the first clip

    @cached_property
    def randaugment(self) -> RandAugment | None:
        """The setting as a function; None if there is none."""
        return parse_randaugment(self.augment.randaugment) if self.augment.randaugment else None

    def __call__(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        """Transform a clip, uint8 (T, 3, H, W) to (T, 3, S, S); every draw comes from `rng`."""
        sampled = SampledTransform(self, rng)
        return sampled.clip(sampled.frame(clip))


class SampledTransform:
    """The transform of one clip, drawn once and applied in two steps. So large frames are never in memory together."""

    def __init__(self, transform: TrainTransform, rng: np.random.Generator) -> None:
        """`rng` is the source of every draw; nobody else may draw from it until the clip is finished."""
        self._transform, self._rng = transform, rng
        self._box: Box | None = None

    def frame(self, frames: Tensor) -> Tensor:
        """First step, on frames one at a time, uint8 (n, 3, H, W): crops them, or shrinks them for the augmentation."""
        if self._transform.randaugment is None:
            return self._crop(frames)
        limit = round(self._transform.size * _AUGMENTED_SHORT_SIDE_PER_SIZE)
        return FrameFit().resize(frames, limit) if min(frames.shape[-2:]) > limit else frames

    def clip(self, clip: Tensor) -> Tensor:
        """Second step, on all frames that `frame` returned: augments, crops, flips, colours. uint8 (T, 3, S, S)."""
        if self._transform.randaugment is not None:
            clip = self._crop(self._transform.randaugment(clip, self._rng))
        augment, rng = self._transform.augment, self._rng
        if rng.random() < augment.flip:
            clip = clip.flip(-1)
        # A setting that is off draws nothing, so that runs from before it was there stay what they were.
        if augment.color_jitter and rng.random() < augment.color_jitter:
            clip = jitter_colours(clip, augment.color_strengths, rng)
        if augment.grey and rng.random() < augment.grey:
            clip = to_grey(clip)
        return clip

    def _crop(self, frames: Tensor) -> Tensor:
        """Cuts the same box out of all frames and resizes it to the square; the first call draws it."""
        if self._box is None:
            self._box = self._draw_box(*frames.shape[-2:])
        top, left, height, width = self._box
        size, fit = self._transform.size, self._transform.fit
        return resize(frames[..., top : top + height, left : left + width], size, size, fit.interpolation)

    def _draw_box(self, height: int, width: int) -> Box:
        """A box of a frame. Where frames are squashed it is drawn in the square that the frame becomes: so the largest
        box of square shape is the whole frame, as in a test."""
        augment = self._transform.augment
        sides = (max(height, width),) * 2 if self._transform.fit.squash else (height, width)
        if augment.crop == "multiscale":
            box = multiscale_crop_box(*sides, self._rng)
        else:
            box = crop_box(*sides, augment.crop_scale, augment.crop_ratio, self._rng)
        down, across = height / sides[0], width / sides[1]
        return int(box[0] * down), int(box[1] * across), max(1, int(box[2] * down)), max(1, int(box[3] * across))


def jitter_colours(clip: Tensor, strengths: tuple[float, float, float, float], rng: np.random.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue by `strengths`, in an order that is drawn, as in torchvision.

    The first three are factors from 1 - strength to 1 + strength; hue turns by -strength to strength of the circle.
    """
    factors = [rng.uniform(max(0.0, 1 - strength), 1 + strength) for strength in strengths[:3]]
    turn = round(rng.uniform(-strengths[3], strengths[3]) * 255)
    order = rng.permutation(len(strengths))

    def jitter(image: Image.Image) -> Image.Image:
        for number in order:
            image = _turn_hue(image, turn) if number == 3 else _ENHANCERS[number](image).enhance(factors[number])
        return image

    images = [np.asarray(jitter(Image.fromarray(frame))) for frame in clip.permute(0, 2, 3, 1).contiguous().numpy()]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def to_grey(clip: Tensor) -> Tensor:
    """The clip's luma, ITU-R 601, in all three channels: uint8 (T, 3, H, W) -> same."""
    frames = clip.permute(0, 2, 3, 1).contiguous().numpy()
    grey = np.stack([np.asarray(Image.fromarray(frame).convert("L")) for frame in frames])
    return torch.from_numpy(grey)[:, None].expand_as(clip).contiguous()


def _turn_hue(image: Image.Image, turn: int) -> Image.Image:
    if not turn:  # the way through HSV of 8 bits alone would change pixels
        return image
    hue, saturation, value = image.convert("HSV").split()
    turned = Image.fromarray(np.asarray(hue) + np.uint8(turn % 256))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")
