"""What happens to a training clip between decoding and the batch.

Axes: T frames, H x W pixels as decoded, S x S pixels of a crop.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from torch import Tensor

from vitaclip.data.config import AugmentConfig
from vitaclip.data.transforms.colour import jitter_colours, to_grey
from vitaclip.data.transforms.geometry import Box, FrameFit, crop_box, multiscale_crop_box, resize
from vitaclip.data.transforms.randaugment import RandAugment, parse_randaugment
from vitaclip.settings import Config, PositiveInt

# RandAugment works on whole frames; larger ones than these (320 for crops of 224) would only cost time.
_AUGMENTED_SHORT_SIDE_PER_SIZE = 10 / 7


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
