"""A folder of numbered pictures (img_00001.jpg, img_00002.jpg, ...), or frames in memory, read like a video.

Axes: n frames, H x W pixels.
"""

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from vitaclip.data.config import PixelAspect, VideoLimits
from vitaclip.data.reading.container import DEFAULT_LIMITS, VideoError, check_size, limit_error
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.given import FramesInMemory
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.reading.source import VideoSource

_NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>[0-9]+)\.(?:jpe?g|png|webp|bmp)", re.IGNORECASE)
# Pictures of optical flow often lie beside the frames.
_FLOW = re.compile(r"flow|(?:^|[^a-z])[xyuv]_?$", re.IGNORECASE)


def is_frame_folder(path: Path) -> bool:
    """Whether it is a folder that holds a numbered picture and is not hidden."""
    if path.name.startswith(".") or not path.is_dir():
        return False
    with os.scandir(path) as entries:
        return any(_NUMBERED.fullmatch(entry.name) is not None for entry in entries)


@contextmanager
def open_source(
    path: VideoPath, limits: VideoLimits = DEFAULT_LIMITS, pixel_aspect: PixelAspect = "display"
) -> Iterator[VideoSource]:
    """Opens a video file, as `open_video` does, or a folder of numbered pictures or frames in memory, without an index.

    Raises:
        VideoError: the path is neither, or what it holds is beyond the limits.
    """
    if isinstance(path, Path) and is_frame_folder(path):
        yield FrameFolder(path, limits)
        return
    if isinstance(path, FramesInMemory):
        yield FrameArray(path, limits)
        return
    with open_video(path, limits, pixel_aspect) as video:
        yield video


class FrameFolder(VideoSource):
    """A folder of numbered pictures, in the order of their numbers, turned as they say. Made by `open_source`."""

    def __init__(self, path: Path, limits: VideoLimits) -> None:
        self.path, self._limits = path, limits
        self._files = _frame_files(path)
        if len(self._files) > limits.frames:
            raise limit_error(path, f"{len(self._files)} pictures", "frames", limits)

    @property
    def num_frames(self) -> int:
        return len(self._files)

    def _read(self, wanted: list[int]) -> Iterator[tuple[int, Tensor]]:
        for number in wanted:
            yield number, _read_picture(self._files[number], self._limits).permute(2, 0, 1)


class FrameArray(VideoSource):
    """Frames in memory. Made by `open_source`."""

    def __init__(self, path: FramesInMemory, limits: VideoLimits) -> None:
        self.path, self._frames = path, path.frames
        count, height, width, _ = path.frames.shape
        if count > limits.frames:
            raise limit_error(path, f"{count} frames", "frames", limits)
        check_size(path, width, height, limits)

    @property
    def num_frames(self) -> int:
        return len(self._frames)

    def _read(self, wanted: list[int]) -> Iterator[tuple[int, Tensor]]:
        for number in wanted:
            yield number, torch.from_numpy(self._frames[number].copy()).permute(2, 0, 1)


def _frame_files(path: Path) -> list[Path]:
    """The pictures in the order of their numbers.

    Raises:
        VideoError: several kinds of pictures, one number twice, or a gap.
    """
    kinds: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for file in path.iterdir():
        match = _NUMBERED.fullmatch(file.name)
        if match is not None and not file.name.startswith("."):
            kinds[match["prefix"]].append((int(match["number"]), file))
    colour = {prefix: files for prefix, files in kinds.items() if len(kinds) == 1 or not _FLOW.search(prefix)}
    if len(colour) != 1:
        names = ", ".join(f"{prefix}*" for prefix in sorted(kinds))
        raise VideoError(f"{path} holds several kinds of numbered pictures ({names}): leave one kind in it")
    numbered = sorted(next(iter(colour.values())))
    steps = {later - earlier for (earlier, _), (later, _) in itertools.pairwise(numbered)}
    if len(steps) > 1 or 0 in steps:
        what = "two pictures of one number" if 0 in steps else "gaps in the numbers of its pictures"
        raise VideoError(f"{path} has {what}: extract the frames again or leave it out")
    return [file for _, file in numbered]


def _read_picture(file: Path, limits: VideoLimits) -> Tensor:
    """uint8 (H, W, 3)."""
    try:
        with Image.open(file) as picture:
            check_size(file, picture.width, picture.height, limits)
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I"):  # 16 bits of grey, which Pillow's conversion cuts off at 255
                upright = Image.fromarray((np.asarray(upright) >> 8).clip(0, 255).astype(np.uint8))
            return torch.from_numpy(np.array(upright.convert("RGB")))
    except VideoError:
        raise
    except Image.DecompressionBombError as error:
        raise limit_error(file, "far too many pixels", "pixels", limits) from error
    except Exception as error:  # damaged pictures make Pillow fail in every way there is
        raise VideoError(f"{file} cannot be read as a picture: copy it again or leave its folder out") from error
