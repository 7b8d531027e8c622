"""What happens to a training clip between decoding and the batch.

Axes: T frames, H x W pixels as decoded, S x S pixels of a crop.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from torch import Tensor

from vitaclip.data.config import AugmentConfig
from vitaclip.data.transforms.colour import jitter_colours, to_grey
from vitaclip.data.transforms.geometry import crop_box, multiscale_crop_box, resize_short_side, resized_crop
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
        self._box: tuple[int, int, int, int] | None = None

    def frame(self, frames: Tensor) -> Tensor:
        """First step, on frames one at a time, uint8 (n, 3, H, W): crops them, or shrinks them for the augmentation."""
        if self._transform.randaugment is None:
            return self._crop(frames)
        limit = round(self._transform.size * _AUGMENTED_SHORT_SIDE_PER_SIZE)
        return resize_short_side(frames, limit) if min(frames.shape[-2:]) > limit else frames

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
        """Cuts the same box out of all frames; the first call draws it."""
        if self._box is None:
            (height, width), augment = frames.shape[-2:], self._transform.augment
            if augment.crop == "multiscale":
                self._box = multiscale_crop_box(height, width, self._rng)
            else:
                self._box = crop_box(height, width, augment.crop_scale, augment.crop_ratio, self._rng)
        return resized_crop(frames, self._box, self._transform.size)
