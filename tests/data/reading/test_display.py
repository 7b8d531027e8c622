"""Frames as displayed: turned, mirrored, with square pixels."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.buffer import Buffer
from PIL import Image

from video_files import decode_all, write_video
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import open_video


def shown(path: Path, number: int) -> np.ndarray:
    """(H, W, 3)."""
    with open_video(path) as video:
        frame = video.frames([number])[0]
        assert video.frames([0]).shape[2:] == frame.shape[1:]
    return frame.permute(1, 2, 0).numpy()


def moved_by_matrix(path: Path, number: int) -> np.ndarray:
    """Every stored pixel of a frame put where the display matrix says, one at a time; (H, W, 3)."""
    with av.open(str(path)) as container:
        frame = list(container.decode(video=0))[number]
    matrix = frame.side_data.get("DISPLAYMATRIX")
    assert isinstance(matrix, Buffer)
    a, b, _, c, d = np.frombuffer(memoryview(matrix), dtype=np.int32)[:5] / 65536
    stored = frame.to_ndarray(format="rgb24")
    places = {
        (round(b * x + d * y), round(a * x + c * y)): stored[y, x]
        for y in range(stored.shape[0])
        for x in range(stored.shape[1])
    }
    rows, columns = sorted({row for row, _ in places}), sorted({column for _, column in places})
    return np.array([[places[row, column] for column in columns] for row in rows])


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, -90, 180])
def test_turned_and_mirrored_as_the_file_says(tmp_path: Path, rotation: int, mirror: bool) -> None:
    path = write_video(tmp_path / "turned.mp4", rotation=rotation, mirror=mirror, frames=8)
    if not rotation and not mirror:
        np.testing.assert_array_equal(shown(path, 7), decode_all(path)[7])
        return
    np.testing.assert_array_equal(shown(path, 7), moved_by_matrix(path, 7))
    assert shown(path, 7).shape[:2] == ((64, 48) if rotation in (90, -90) else (48, 64))


def test_phone_rotation_is_applied(tmp_path: Path) -> None:
    """A display matrix of -90 (counter-clockwise) shows it turned clockwise: the stored left is on top."""
    path = tmp_path / "phone.mp4"
    stored = np.zeros((32, 64, 3), dtype=np.uint8)
    stored[:, :16] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        stream.set_display_rotation(-90)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode())
    frame = shown(path, 0)
    assert frame.shape == (64, 32, 3)
    assert frame[:12].mean() > 240
    assert frame[20:].mean() < 15


@pytest.mark.parametrize("name", ["wide.mp4", "wide.mkv", "wide.ts", "wide.mpg"])
def test_anamorphic_pixels_are_made_square(tmp_path: Path, name: str) -> None:
    codec = "mpeg2video" if name.endswith("mpg") else "libx264"
    path = write_video(tmp_path / name, codec, frames=8, pixel_aspect=Fraction(4, 3))
    frame = shown(path, 5)
    # MPEG-2 states the shape of the picture, here 16:9, instead of that of a pixel.
    assert frame.shape == (48, 85, 3)
    stored = Image.fromarray(decode_all(path)[5])
    expected = np.asarray(stored.resize((85, 48), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(frame - expected).max() <= 2


@pytest.mark.parametrize(("aspect", "rotation", "shape"), [("1/2", 0, (48, 32, 3)), ("2", 90, (128, 48, 3))])
def test_pixels_are_square_before_rotation(
    tmp_path: Path, aspect: str, rotation: int, shape: tuple[int, int, int]
) -> None:
    path = write_video(tmp_path / "a.mp4", frames=2, pixel_aspect=Fraction(aspect), rotation=rotation)
    assert shown(path, 1).shape == shape


def test_impossible_pixel_aspect_is_an_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "strange.mp4", frames=2, pixel_aspect=Fraction(40))
    with open_video(path) as video, pytest.raises(VideoError, match=r"strange\.mp4 states pixels 40 times as wide"):
        video.frames([0])


def test_pixels_may_stay_as_they_are_stored(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wide.mp4", frames=8, pixel_aspect=Fraction(4, 3))
    with open_video(path, pixel_aspect="stored") as video:
        np.testing.assert_array_equal(video.frames([5])[0].permute(1, 2, 0), decode_all(path)[5])
