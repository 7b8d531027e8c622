"""Video files for the benchmarks, written once: H.264 with B-frames, as x264 makes them when nothing else is asked."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

FPS = 30


@dataclass(frozen=True)
class Clip:
    """A file to be made. Synthetic pictures: a landscape of random relief, panned over, with things moving in it."""

    name: str
    seconds: int = 10
    width: int = 340
    height: int = 256
    noise: float = 1.0
    """Standard deviation of the noise of each frame, in grey levels."""
    cuts: int = 0
    """Changes to another scene, at even distances."""
    codec: str = "libx264"
    preset: str = "medium"
    b_frames: int = 3
    seed: int = 0
    repeats: int = 1
    """How often what was encoded is stored, one after the other: a quick way to a long file."""

    @property
    def frames(self) -> int:
        """Frames of the file."""
        return self.seconds * FPS * self.repeats


# Ten seconds as Kinetics is usually kept; about 400 to 550 kbit/s.
SHORT = (
    Clip("still_camera", noise=0.0, seed=1),
    Clip("one_scene", noise=1.0, seed=2),
    Clip("noisy", noise=2.0, seed=3),
    Clip("one_cut", noise=1.0, cuts=1, seed=4),
    Clip("two_cuts", noise=1.0, cuts=2, seed=5),
    Clip("four_cuts", noise=1.0, cuts=4, seed=6),
)
LONG = tuple(Clip(f"{minutes}_minutes", seconds=60 * minutes, seed=7) for minutes in (1, 3, 6))


def make(clip: Clip, folder: Path) -> Path:
    """Writes the file if it is not there."""
    path = folder / f"{clip.name}{'.avi' if clip.codec == 'mpeg4' else '.mp4'}"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"part_{path.name}"
    options = {"preset": clip.preset} if clip.codec == "libx264" else {}
    with av.open(str(part), "w") as container:
        stream = container.add_stream(clip.codec, rate=FPS, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.max_b_frames = clip.b_frames
        packets = []
        for picture in _pictures(clip):
            packets += stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        packets += stream.encode()
        for number in range(clip.repeats):
            container.mux(_later(packet, number * clip.seconds) for packet in packets)
    part.rename(path)
    return path


def _later(packet: av.Packet, seconds: int) -> av.Packet:
    """The same packet at a later time; muxing changes the one it is given."""
    copy = av.Packet(bytes(packet))
    copy.stream, copy.time_base, copy.is_keyframe = packet.stream, packet.time_base, packet.is_keyframe
    shift = round(seconds / packet.time_base)
    copy.pts, copy.dts, copy.duration = packet.pts + shift, packet.dts + shift, packet.duration
    return copy


def _pictures(clip: Clip) -> Iterator[np.ndarray]:
    """uint8 (H, W, 3)."""
    rng = np.random.default_rng(clip.seed)
    height, width = clip.height, clip.width
    noises = [rng.normal(size=(height, width, 1)) * clip.noise for _ in range(16)]
    frames = clip.seconds * FPS
    scene_length = -(-frames // (clip.cuts + 1))
    for number in range(frames):
        if number % scene_length == 0:
            coarse = -(-height // 720)  # the random picture is made smaller than a large frame, and enlarged
            scene = _relief(2 * height // coarse + 1, 3 * width // coarse + 1, rng)
            scene = scene.repeat(coarse, axis=0).repeat(coarse, axis=1)
        x = (1 + np.sin(number / 70)) * (width - 1)
        y = (1 + np.cos(number / 90)) * (height - 1) / 2
        picture = _between(scene[int(y) : int(y) + height + 1, int(x) : int(x) + width + 1], y % 1, x % 1)
        for thing in range(3):
            top = int((0.4 + 0.4 * np.cos(number / 15 + thing)) * height)
            left = int((0.4 + 0.4 * np.sin(number / 20 + 2 * thing)) * width)
            size = min(height // 5, height - top)
            part = picture[top : top + size, left : left + size]
            part[...] = scene[thing * size : (thing + 1) * size, : part.shape[1]]
        picture += noises[rng.integers(len(noises))]
        yield picture.clip(0, 255).astype(np.uint8)


def _relief(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Random picture with the spectrum of natural ones, float (height, width, 3)."""
    spectrum = np.fft.fft2(rng.normal(size=(height, width, 3)), axes=(0, 1))
    frequency = np.hypot(np.fft.fftfreq(height)[:, None, None], np.fft.fftfreq(width)[None, :, None])
    picture = np.fft.ifft2(spectrum / np.maximum(frequency, 1 / width) ** 1.2, axes=(0, 1)).real
    return ((picture - picture.mean()) / picture.std() * 50 + 128).clip(0, 255)


def _between(picture: np.ndarray, down: float, right: float) -> np.ndarray:
    """The picture moved by a part of a pixel: one row and one column less."""
    rows = (1 - down) * picture[:-1] + down * picture[1:]
    return (1 - right) * rows[:, :-1] + right * rows[:, 1:]
