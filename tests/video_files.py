"""Small video files of every kind that matters, and rows that name them."""

from pathlib import Path

import av
import numpy as np

from vitaclip.config import AugmentConfig
from vitaclip.data import FrameSampling, TrainTransform, VideoRow

SAMPLING = FrameSampling("dense", 4, 3)
TRANSFORM = TrainTransform(24, AugmentConfig(flip=0.5, randaugment="rand-m7-n4-mstd0.5-inc1"))


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
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """Writes a texture that slides by one pixel a frame, so that every frame differs from every other."""
    texture = np.random.default_rng(seed).integers(0, 255, (height, width + frames, 3), dtype=np.uint8)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.gop_size, stream.max_b_frames = gop, b_frames
        stream.codec_context.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            picture = np.ascontiguousarray(texture[:, number : number + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def decode_all(path: Path) -> np.ndarray:
    """Oracle: every frame that PyAV's plain decoding gives, uint8 (n, H, W, 3), rotation not applied."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def rows_of(folder: Path, broken: tuple[int, ...] = ()) -> list[VideoRow]:
    """Ten rows for the files of the fixture `video_folder`; those in `broken` name missing files."""
    names = [f"broken{n}.mp4" if n in broken else f"clip{n}.mp4" for n in range(10)]
    return [VideoRow(folder / name, n % 3, f"list.csv:{n + 1}") for n, name in enumerate(names)]
