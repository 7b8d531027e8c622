"""Small video files of every kind that matters, and rows that name them."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vitaclip.data.config import AugmentConfig
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.transforms import TrainTransform

SAMPLING = FrameSampling("dense", 4, 3)
TRANSFORM = TrainTransform(24, AugmentConfig(flip=0.5, randaugment="rand-m7-n4-mstd0.5-inc1"))


def moving_texture(frames: int, height: int, width: int, seed: int = 0) -> Iterator[np.ndarray]:
    """A texture that slides by one pixel a frame, with some noise: every frame differs from every other.

    Yields:
        uint8 (height, width, 3), RGB.
    """
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 200, (height, width + frames, 3), dtype=np.uint8)
    for number in range(frames):
        yield texture[:, number : number + width] + rng.integers(0, 56, (height, width, 1), dtype=np.uint8)


def write_video(
    path: Path,
    codec: str = "libx264",
    *,
    frames: int = 40,
    width: int = 64,
    height: int = 48,
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    b_frames: int = 2,
    rotation: int = 0,
    mirror: bool = False,
    pixel_aspect: Fraction | None = None,
    colorspace: int | None = None,
    times: Sequence[int] | None = None,
    pictures: Iterable[np.ndarray] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """Writes `pictures`, else a moving texture; `times` are those of the frames, in milliseconds, if not 40 apart."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.gop_size, stream.max_b_frames = gop, b_frames
        stream.codec_context.thread_count = 1
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation or mirror:
            stream.set_display_rotation(rotation, hflip=mirror)
        if colorspace is not None:
            stream.codec_context.colorspace = colorspace
        for number, picture in enumerate(pictures or moving_texture(frames, height, width, seed)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if colorspace is not None:
                frame = frame.reformat(format=pix_fmt, dst_colorspace=colorspace)
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decode_all(path: Path) -> np.ndarray:
    """Oracle: every frame that PyAV's plain decoding gives, uint8 (n, H, W, 3), not turned or scaled."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def rows_of(folder: Path, broken: tuple[int, ...] = ()) -> list[VideoSample]:
    """Ten rows for the files of the fixture `video_folder`; those in `broken` name missing files."""
    names = [f"broken{n}.mp4" if n in broken else f"clip{n}.mp4" for n in range(10)]
    return [VideoSample(folder / name, (n % 3,), f"list.csv:{n + 1}") for n, name in enumerate(names)]
