"""Mean and standard deviation of the pixels that a CLIP was trained on, as the files beside its weights tell them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vitaclip.backbones.config import CLIPConfig
from vitaclip.untrusted import read_json, reading

Three = tuple[float, float, float]


class PixelStatistics(NamedTuple):
    """Of R, G, B in [0, 1]."""

    mean: Three = CLIPConfig.pixel_mean
    std: Three = CLIPConfig.pixel_std


CLIP_PIXELS = PixelStatistics()
IMAGENET_PIXELS = PixelStatistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PREPROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
"""transformers' image processor, alone or as a part of the newer file of all processors."""
OPEN_CLIP_CONFIG_FILE = "open_clip_config.json"


def transformers_pixels(folder: Path) -> PixelStatistics:
    """The pixel statistics of a folder of transformers: its image processor's, or else those of open_clip's config.

    Repositories often hold the same weights for both libraries.
    """
    for name in PREPROCESSOR_FILES:
        if (folder / name).is_file():
            config = read_json(folder / name)
            found = config.get("image_processor", config)
            with reading(folder / name):
                if isinstance(found, Mapping) and {"image_mean", "image_std", "do_normalize"} & found.keys():
                    return _of_processor(found)
    return open_clip_pixels(folder)


def open_clip_pixels(folder: Path) -> PixelStatistics:
    """The pixel statistics in a folder's open_clip config; CLIP's own where it tells none."""
    file = folder / OPEN_CLIP_CONFIG_FILE
    if not file.is_file():
        return CLIP_PIXELS
    preprocess = read_json(file).get("preprocess_cfg") or {}
    with reading(file):
        return _statistics(preprocess.get("mean"), preprocess.get("std"))


def _of_processor(config: Mapping[str, Any]) -> PixelStatistics:
    if config.get("do_rescale", True) is not True or abs(config.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        raise ValueError("do_rescale and rescale_factor must take pixels to 0 to 1, as CLIP does")
    if config.get("do_normalize", True) is False:
        return PixelStatistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return _statistics(config.get("image_mean"), config.get("image_std"))


def _statistics(mean: Any, std: Any) -> PixelStatistics:
    """CLIP's own for what is not told."""
    return PixelStatistics(_three(mean or CLIP_PIXELS.mean), _three(std or CLIP_PIXELS.std))


def _three(values: Any) -> Three:
    numbers = [values] * 3 if isinstance(values, int | float) else values
    if not isinstance(numbers, Sequence) or len(numbers) != 3 or not all(type(n) in (int, float) for n in numbers):
        raise ValueError("mean and standard deviation of the pixels must be three numbers each, for R, G and B")
    red, green, blue = map(float, numbers)
    return red, green, blue
