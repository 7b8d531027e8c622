"""What frames are read from by their numbers: the contract, and its simple cases, a folder of numbered pictures
(img_00001.jpg, img_00002.jpg, ...) and frames in memory.

Axes: n frames, H x W pixels as displayed.
"""

from __future__ import annotations

import itertools
import os
import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vitaclip.data.config import VideoLimits
from vitaclip.data.reading.container import VideoError, check_size, limit_error
from vitaclip.data.reading.path import FramesInMemory, VideoPath
from vitaclip.strings import counted

if TYPE_CHECKING:
    import torch
    from torch import Tensor

FrameFunction = Callable[["Tensor"], "Tensor"]
_MOST_DAMAGED = 8
"""Damaged pictures in a row for which others stand in, at most."""
_MOST_HELD = 256
"""Frames that `VideoSource.stream` holds back, at most."""

_NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>[0-9]+)\.(?:jpe?g|png|webp|bmp)", re.IGNORECASE)
# Pictures of optical flow often lie beside the frames.
_FLOW = re.compile(r"flow|(?:^|[^a-z])[xyuv]_?$", re.IGNORECASE)


class VideoSource(ABC):
    """Frames that are read by their numbers. `open_video` opens one."""

    path: VideoPath
    fps: float = 25.0
    """Average frames per second as the file states them; FFmpeg's own assumption where nothing does."""

    stated_seconds: float = 0.0
    """Length that the file states; 0 where it states none."""
    key_numbers: np.ndarray = np.empty(0, np.int64)
    """Ascending numbers of frames that are decoded alone; none where nothing tells."""

    @cached_property
    def replaced(self) -> set[int]:
        """Numbers of the frames that were asked for and cannot be decoded; the nearest good one stands in."""
        return set()

    @cached_property
    def scaled(self) -> set[tuple[int, int]]:
        """Widths and heights of pictures that were brought to the size of the first one."""
        return set()

    @property
    def note(self) -> str:
        """What is to be said of the frames given so far; empty if they are as the file has them."""
        frames, notes = counted(len(self.replaced), "frame"), list[str]()
        if self.replaced:
            notes.append(f"{frames} cannot be decoded, the nearest good ones stand in")
        if self.scaled:
            sizes = ", ".join(f"{width} x {height}" for width, height in sorted(self.scaled))
            notes.append(f"the picture changes its size; those of {sizes} are brought to the first")
        return f"{self.path}: {'; '.join(notes)}" if notes else ""

    @property
    @abstractmethod
    def num_frames(self) -> int:
        """Number of frames, at least 1."""

    @property
    def times(self) -> np.ndarray:
        """(num_frames,) seconds from the first frame to each frame: here those of a constant rate."""
        return np.arange(self.num_frames) / self.fps

    @abstractmethod
    def _read(self, wanted: list[int]) -> Iterator[tuple[int, Tensor]]:
        """Yields (number, pixels), uint8 (3, H, W), for each of the ascending numbers `wanted`.

        A number may come again with other pixels, which replace the first ones.
        """

    def frames(self, indices: Sequence[int] | np.ndarray, transform: FrameFunction | None = None) -> Tensor:
        """Reads the frames with these numbers, each distinct one once.

        Args:
            indices: n frame numbers in display order, each in 0..num_frames-1; any order, repeats allowed.
            transform: applied to every frame, (1, 3, H, W), as soon as it is decoded, such as a resize. Large frames
                are then never in memory together.

        Returns:
            uint8 (n, 3, H, W), RGB, in the order of `indices`; without `transform` bit-equal to reading everything.

        Raises:
            VideoError: a number outside the video, or a frame that a damaged file does not give.
        """
        import torch  # here: exported models read frames without it

        numbers = [int(index) for index in indices]
        if not numbers:
            raise ValueError("frames() got an empty list: ask for at least one frame")
        if min(numbers) < 0 or max(numbers) >= self.num_frames:
            asked = f"{min(numbers)}..{max(numbers)}"
            raise VideoError(f"{self.path} has frames 0..{self.num_frames - 1}, not {asked}: ask for those it has")
        shape: torch.Size | None = None
        collected: Tensor | None = None
        for number, frame in self._read(sorted(set(numbers))):
            shape = shape or frame.shape
            if frame.shape != shape:
                raise VideoError(f"{self.path} holds pictures of several sizes: convert them to one, or leave it out")
            pixels = transform(frame.unsqueeze(0))[0] if transform else frame
            if collected is None:
                # Stored as (n, H, W, 3), because resizing is fastest in that layout.
                height, width = pixels.shape[-2:]
                collected = torch.empty((len(numbers), height, width, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
            for position, asked_for in enumerate(numbers):
                if asked_for == number:
                    collected[position] = pixels
        assert collected is not None
        return collected

    def stream(
        self, indices: Sequence[int] | np.ndarray, transform: FrameFunction = lambda frame: frame
    ) -> Iterator[Tensor]:
        """Yields the frames with these ascending numbers, each distinct one decoded once, in a memory that does not
        grow with their number.

        They are those of `frames`, but for a damaged file with many wanted frames between two key frames: those of
        them that were given before the damage was met stay as they were.

        Args:
            indices: ascending frame numbers, each in 0..num_frames-1; repeats allowed.
            transform: see `frames`; sizes may differ before it.

        Raises:
            VideoError: a damaged file does not give the next frame; those before it were yielded.
        """
        numbers = [int(index) for index in indices]
        frames = self._in_order(list(dict.fromkeys(numbers)), transform)
        for _, repeats in itertools.groupby(numbers):
            frame = next(frames)
            yield from (frame for _ in repeats)

    def _in_order(self, wanted: list[int], transform: FrameFunction) -> Iterator[Tensor]:
        """The frames of the ascending numbers `wanted`, each once."""
        for part in self._parts(wanted):
            held: dict[int, Tensor] = {}
            given = -1
            for number, frame in part:
                if number > given:
                    held[number] = transform(frame.unsqueeze(0))[0]
                if len(held) > _MOST_HELD:
                    given = min(held)
                    yield held.pop(given)
            yield from (held[number] for number in sorted(held))

    def _parts(self, wanted: list[int]) -> Iterable[Iterator[tuple[int, Tensor]]]:
        """What `_read` gives, in ascending parts; within a part the order may be any, and a number may come again."""
        return [self._read(wanted)]


def is_picture_name(name: str) -> bool:
    """Whether a file is called like a numbered picture."""
    return _NUMBERED.fullmatch(name) is not None


def is_frame_folder(path: Path) -> bool:
    """Whether it is a folder that holds a numbered picture and is not hidden."""
    if path.name.startswith(".") or not path.is_dir():
        return False
    with os.scandir(path) as entries:
        return any(is_picture_name(entry.name) for entry in entries)


class FrameFolder(VideoSource):
    """A folder of numbered pictures, in the order of their numbers, turned as they say. Made by `open_video`."""

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
            try:
                picture = _read_picture(self._files[number], self._limits)
            except VideoError:
                picture = self._nearest(number)
                self.replaced.add(number)
            yield number, picture.permute(2, 0, 1)

    def _nearest(self, number: int) -> Tensor:
        """The nearest good picture to a damaged one, of which a folder may have some in a row."""
        for step in range(1, _MOST_DAMAGED + 1):
            for place in (number - step, number + step):
                if 0 <= place < len(self._files):
                    with suppress(VideoError):
                        return _read_picture(self._files[place], self._limits)
        return _read_picture(self._files[number], self._limits)  # and its error


class FrameArray(VideoSource):
    """Frames in memory. Made by `open_video`."""

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
        import torch

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
    import torch
    from PIL import Image, ImageOps

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
