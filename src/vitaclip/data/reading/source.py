"""What frames are read from: the contract of a video file and of a folder of pictures.

Axes: n frames, H x W pixels as displayed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.member import VideoPath

FrameFunction = Callable[[Tensor], Tensor]


class VideoSource(ABC):
    """Frames that are read by their numbers. `open_source` opens one."""

    path: VideoPath

    @property
    @abstractmethod
    def num_frames(self) -> int:
        """Number of frames, at least 1."""

    @abstractmethod
    def _read(self, wanted: list[int]) -> Iterator[tuple[int, Tensor]]:
        """Yields (number, pixels), uint8 (3, H, W), for each of the ascending numbers `wanted`.

        A number may come again with other pixels, which replace the first ones.
        """

    @property
    def width(self) -> int:
        """Pixels across as displayed."""
        return int(self._first_frame.shape[-1])

    @property
    def height(self) -> int:
        """Pixels down as displayed."""
        return int(self._first_frame.shape[-2])

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

    @cached_property
    def _first_frame(self) -> Tensor:
        return self.frames([0])[0]
