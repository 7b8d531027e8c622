"""Colour jitter and grey for clips: one draw serves all frames, so that nothing flickers.

X-CLIP and ViFi-CLIP train with both; their code draws the jitter anew for each frame, which no camera does.
Axes: T frames, H x W pixels; a clip is uint8 (T, 3, H, W).
"""

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

_ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


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
