"""A folder of numbered pictures (img_00001.jpg, img_00002.jpg, ...) read like a video.

Axes: n frames, H x W pixels.
"""

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from vitaclip.config import PixelAspect, VideoLimits
from vitaclip.data.reading.container import DEFAULT_LIMITS, VideoError, check_size, limit_error
from vitaclip.data.reading.decode import FrameFunction, Video, open_video
from vitaclip.data.reading.index_cache import IndexCache
from vitaclip.data.reading.member import VideoPath

_NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>[0-9]+)\.(?:jpe?g|png|webp|bmp)", re.IGNORECASE)
# Pictures of optical flow often lie beside the frames.
_FLOW = re.compile(r"flow|(?:^|[^a-z])[xyuv]_?$", re.IGNORECASE)


def is_frame_folder(path: Path) -> bool:
    """Whether it is a folder that holds a numbered picture and is not hidden."""
    if path.name.startswith(".") or not path.is_dir():
        return False
    with os.scandir(path) as entries:
        return any(_NUMBERED.fullmatch(entry.name) is not None for entry in entries)


def open_source(
    path: VideoPath,
    cache: IndexCache | None = None,
    limits: VideoLimits = DEFAULT_LIMITS,
    pixel_aspect: PixelAspect = "display",
) -> "AbstractContextManager[Video | FrameFolder]":
    """Opens a video file, or a folder of numbered pictures, for reading frames.

    Args:
        path: either; or a video in a tar file.
        cache: where to find, or else to put, what a video file's packets say; a folder has none.
        limits: what it may be at most.
        pixel_aspect: whether pixels of a video file that are not square are made so, or left as they are stored.

    Raises:
        VideoError: it is neither, or beyond the limits.
    """
    if isinstance(path, Path) and is_frame_folder(path):
        return _open_folder(path, limits)
    return open_video(path, cache, limits, pixel_aspect)


class FrameFolder:
    """A folder of numbered pictures, in the order of their numbers, turned as they say. Made by `open_source`.

    Read like a `Video`; pictures state no rate, so there is no `fps`.
    """

    def __init__(self, path: Path, limits: VideoLimits) -> None:
        self.path, self._limits = path, limits
        self._files = _frame_files(path)
        if len(self._files) > limits.frames:
            raise limit_error(path, f"{len(self._files)} pictures", "frames", limits)

    @property
    def num_frames(self) -> int:
        """Number of pictures, at least 1."""
        return len(self._files)

    @property
    def width(self) -> int:
        """Pixels across."""
        return int(self._first_frame.shape[-1])

    @property
    def height(self) -> int:
        """Pixels down."""
        return int(self._first_frame.shape[-2])

    def frames(self, indices: Sequence[int] | np.ndarray, each: FrameFunction | None = None) -> Tensor:
        """Reads the pictures at these places of the order; each once.

        Args:
            indices: n places, each in 0..num_frames-1; any order, repeats allowed.
            each: what happens to every picture, (1, 3, H, W), as soon as it is read, such as a resize: large
                pictures are then never in memory together.

        Returns:
            uint8 (n, 3, H, W), RGB, in the order of `indices`; H x W as `each` leaves them.

        Raises:
            VideoError: a place outside the folder, a damaged picture, or pictures of several sizes.
        """
        numbers = [int(index) for index in indices]
        if not numbers:
            raise ValueError("frames() got an empty list: ask for at least one frame")
        if min(numbers) < 0 or max(numbers) >= self.num_frames:
            asked = f"{min(numbers)}..{max(numbers)}"
            raise VideoError(f"{self.path} has frames 0..{self.num_frames - 1}, not {asked}: ask for those it has")
        shape: torch.Size | None = None
        pixels: dict[int, Tensor] = {}
        for number in sorted(set(numbers)):
            picture = _read_picture(self._files[number], self._limits)
            shape = shape or picture.shape
            if picture.shape != shape:
                raise VideoError(f"{self.path} holds pictures of several sizes: convert them to one, or leave it out")
            picture = picture.permute(2, 0, 1).unsqueeze(0)
            pixels[number] = (each(picture) if each else picture)[0].permute(1, 2, 0)
        # Stored as (n, H, W, 3), as the frames of a video file are.
        return torch.stack([pixels[number] for number in numbers]).permute(0, 3, 1, 2)

    @cached_property
    def _first_frame(self) -> Tensor:
        return self.frames([0])[0]


@contextmanager
def _open_folder(path: Path, limits: VideoLimits) -> Iterator[FrameFolder]:
    yield FrameFolder(path, limits)


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
