"""Decoded frames as a player shows them: RGB, turned and mirrored as the file says, pixels square or as stored.

Axes: H x W pixels.
"""

from fractions import Fraction

import av.error
import numpy as np
import torch
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from torch import Tensor

from vitaclip.data.config import PixelAspect, VideoLimits
from vitaclip.data.reading.container import VideoError, check_size
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.transforms.geometry import resize

_MOST_ANAMORPHIC = 10  # beyond, a pixel's stated shape is a mistake


class FrameConverter:
    """Makes decoded frames of one stream into pixels."""

    def __init__(self, path: VideoPath, stream: VideoStream, limits: VideoLimits, pixel_aspect: PixelAspect) -> None:
        self._path, self._stream, self._limits, self._makes_square = path, stream, limits, pixel_aspect == "display"
        # One converter for all frames, in one thread: to start either anew costs more than the conversion.
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame, size: tuple[int, int] | None = None) -> Tensor:
        """uint8 (3, H, W), H and W as displayed; stored as (H, W, 3), the layout in which resizing is fastest.

        Args:
            frame: the decoded frame.
            size: width and height to bring it to, in stored pixels; None: as it is.

        Raises:
            VideoError: the file states an impossible shape of its pixels, the result is beyond the limits, or FFmpeg
                cannot convert their format.
        """
        width, height = size or (frame.width, frame.height)
        aspect = self._stored_aspect() if self._makes_square else Fraction(1)
        shown_width = max(1, round(width * aspect))
        check_size(self._path, shown_width, height, self._limits, " as displayed")
        try:
            plane = self._reformatter.reformat(frame, width, height, format="rgb24", threads=1).planes[0]
        except av.error.FFmpegError as error:
            raise VideoError(
                f"{self._path} has pixels of a kind ({frame.format.name}) that FFmpeg cannot convert: leave it out"
            ) from error
        rows = torch.from_numpy(np.frombuffer(memoryview(plane), dtype=np.uint8)).view(plane.height, plane.line_size)
        pixels = rows[:, : 3 * width].unflatten(1, (width, 3)).permute(2, 0, 1)
        pixels = resize(pixels.unsqueeze(0), height, shown_width)[0]
        turned, mirrored = _orientation(frame)
        return (pixels.transpose(1, 2) if turned else pixels).flip(mirrored)

    def shown_aspect(self, frame: VideoFrame) -> Fraction:
        """Width over height of a pixel of the result."""
        aspect = Fraction(1) if self._makes_square else self._stored_aspect()
        return 1 / aspect if _orientation(frame)[0] else aspect

    def _stored_aspect(self) -> Fraction:
        """Width of a stored pixel over its height, as the file states it or else the frames themselves."""
        aspect = self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio or Fraction(1)
        if not 1 / _MOST_ANAMORPHIC <= aspect <= _MOST_ANAMORPHIC:
            raise VideoError(f"{self._path} states pixels {aspect} times as wide as high: correct its aspect ratio")
        return aspect


def _orientation(frame: VideoFrame) -> tuple[bool, list[int]]:
    """Whether rows and columns change places, and the axes of (3, H, W) to mirror after that, by the frame's display
    matrix; to the nearest quarter turn."""
    # `frame.side_data` would tie a knot of references, and frames stay in memory until Python's collector comes by.
    matrix = SideDataContainer(frame).get(Type.DISPLAYMATRIX)  # type: ignore[call-arg]
    if matrix is None:
        return False, []
    # A stored point (x, y) is shown at (a x + c y, b x + d y), y downwards.
    a, b, _, c, d = np.frombuffer(memoryview(matrix), dtype=np.int32)[:5].tolist()
    turned = abs(a) + abs(d) < abs(b) + abs(c)
    right, down = (c, b) if turned else (a, d)
    return turned, [axis for axis, sign in ((2, right), (1, down)) if sign < 0]
