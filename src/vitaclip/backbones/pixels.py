"""How an image becomes the input of a CLIP, as the files beside its weights tell it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitaclip.backbones.config import PixelConfig, Three
from vitaclip.untrusted import read_json, reading

CLIP_PIXELS = PixelConfig()
IMAGENET_PIXELS = PixelConfig(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
PREPROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
"""transformers' image processor, alone or as a part of the newer file of all processors."""
OPEN_CLIP_CONFIG_FILE = "open_clip_config.json"
INTERPOLATIONS = {2: "bilinear", 3: "bicubic", "bilinear": "bilinear", "bicubic": "bicubic"}
"""What Pillow's numbers, which transformers takes, and open_clip's words mean."""
FITS = {"shortest": "crop", "squash": "squash"}


def transformers_pixels(folder: Path, default: PixelConfig = CLIP_PIXELS) -> PixelConfig:
    """The pixels of a folder of transformers: its image processor's, or else those of open_clip's config; `default` is
    its family's own, for what neither tells.

    Repositories often hold the same weights for both libraries.
    """
    for name in PREPROCESSOR_FILES:
        if (folder / name).is_file():
            config = read_json(folder / name)
            found = config.get("image_processor", config)
            with reading(folder / name):
                if isinstance(found, Mapping) and {"image_mean", "image_std", "do_normalize"} & found.keys():
                    return _of_processor(found, default)
    return open_clip_pixels(folder, default)


def open_clip_pixels(folder: Path, default: PixelConfig = CLIP_PIXELS) -> PixelConfig:
    """The pixels in a folder's open_clip config; `default` is for what it does not tell."""
    file = folder / OPEN_CLIP_CONFIG_FILE
    if not file.is_file():
        return default
    preprocess = read_json(file).get("preprocess_cfg") or {}
    with reading(file):
        fit, interpolation = (preprocess.get(name) for name in ("resize_mode", "interpolation"))
        if fit not in (None, *FITS):
            raise ValueError(f"resize_mode {fit!r} is not supported; it must be one of {', '.join(FITS)}")
        return _pixels(preprocess.get("mean"), preprocess.get("std"), fit and FITS[fit], interpolation, default)


def _of_processor(config: Mapping[str, Any], default: PixelConfig) -> PixelConfig:
    if config.get("do_rescale", True) is not True or abs(config.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
        raise ValueError("do_rescale and rescale_factor must take pixels to 0 to 1, as CLIP does")
    mean, std = (config.get("image_mean"), config.get("image_std"))
    if config.get("do_normalize", True) is False:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    size = config.get("size")
    fit = None if size is None else "squash" if isinstance(size, Mapping) and "height" in size else "crop"
    return _pixels(mean, std, fit, config.get("resample"), default)


def _pixels(mean: Any, std: Any, fit: Any, interpolation: Any, default: PixelConfig) -> PixelConfig:
    """The default's own for what is not told."""
    if interpolation not in (None, *INTERPOLATIONS):
        raise ValueError(f"interpolation {interpolation!r} is not supported; it must be bilinear or bicubic")
    return PixelConfig(
        mean=_three(mean or default.mean),
        std=_three(std or default.std),
        fit=fit or default.fit,
        interpolation=INTERPOLATIONS.get(interpolation, default.interpolation),  # type: ignore[arg-type]
    )


def _three(values: Any) -> Three:
    numbers = [values] * 3 if isinstance(values, int | float) else values
    if not isinstance(numbers, Sequence) or len(numbers) != 3 or not all(type(n) in (int, float) for n in numbers):
        raise ValueError("mean and standard deviation of the pixels must be three numbers each, for R, G and B")
    red, green, blue = map(float, numbers)
    return red, green, blue
