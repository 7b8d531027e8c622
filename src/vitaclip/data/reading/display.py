"""Decoded frames as a player shows them: RGB, square pixels, turned and mirrored as the file says.

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

from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.transforms.geometry import resize

_MOST_ANAMORPHIC = 10  # beyond, a pixel's stated shape is a mistake


class FrameConverter:
    """Makes decoded frames of one stream into pixels."""

    def __init__(self, path: VideoPath, stream: VideoStream) -> None:
        self._path, self._stream = path, stream
        # One converter for all frames, in one thread: to start either anew costs more than the conversion.
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Tensor:
        """uint8 (3, H, W), H and W as displayed; stored as (H, W, 3), the layout in which resizing is fastest.

        Raises:
            VideoError: the file states an impossible shape of its pixels, or FFmpeg cannot convert their format.
        """
        try:
            plane = self._reformatter.reformat(frame, format="rgb24", threads=1).planes[0]
        except av.error.FFmpegError as error:
            raise VideoError(
                f"{self._path} has pixels of a kind ({frame.format.name}) that FFmpeg cannot convert: leave it out"
            ) from error
        rows = torch.from_numpy(np.frombuffer(memoryview(plane), dtype=np.uint8)).view(plane.height, plane.line_size)
        pixels = rows[:, : 3 * frame.width].unflatten(1, (frame.width, 3)).permute(2, 0, 1)
        aspect = self._pixel_aspect()
        if aspect != 1:
            pixels = resize(pixels.unsqueeze(0), frame.height, max(1, round(frame.width * aspect)))[0]
        return _oriented(pixels, frame)

    def _pixel_aspect(self) -> Fraction:
        """Width of a pixel over its height, as the file states it or else the frames themselves."""
        aspect = self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio or Fraction(1)
        if not 1 / _MOST_ANAMORPHIC <= aspect <= _MOST_ANAMORPHIC:
            raise VideoError(f"{self._path} states pixels {aspect} times as wide as high: correct its aspect ratio")
        return aspect


def _oriented(pixels: Tensor, frame: VideoFrame) -> Tensor:
    """Turned and mirrored by the frame's display matrix, (3, H, W); to the nearest quarter turn."""
    # `frame.side_data` would tie a knot of references, and frames stay in memory until Python's collector comes by.
    matrix = SideDataContainer(frame).get(Type.DISPLAYMATRIX)  # type: ignore[call-arg]
    if matrix is None:
        return pixels
    # A stored point (x, y) is shown at (a x + c y, b x + d y), y downwards.
    a, b, _, c, d = np.frombuffer(memoryview(matrix), dtype=np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        right, down = a, d
    else:
        pixels, right, down = pixels.transpose(1, 2), c, b
    return pixels.flip([axis for axis, sign in ((2, right), (1, down)) if sign < 0])
