"""Files that state or hold more than the limits allow: one line with the limit, before memory is spent."""

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from video_files import write_video
from vitaclip.data.config import VideoLimits
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import open_video
from vitaclip.data.tools import check_video

LIMITS = VideoLimits()
JUST_ENOUGH = VideoLimits(frames=40, pixels=64 * 48, hours=0.0005)


def read(path: Path, limits: VideoLimits) -> int:
    with open_video(path, limits=limits) as clip:
        clip.frames([0])
        return clip.num_frames


TOO_LARGE = VideoLimits(pixels=3071), r"has frames of 64 x 48 pixels, beyond limits\.pixels = 3071: copy it again"
TOO_MANY = VideoLimits(frames=39), r"has (at least )?40 (frames|packets), beyond limits\.frames = 39: copy it again"
TOO_LONG = VideoLimits(hours=0.0004), r"has 0\.0 hours, beyond limits\.hours = 0\.0004: copy it again, or raise"


@pytest.mark.parametrize(
    ("name", "beyond"),
    [(f"a.{kind}", beyond) for kind in ("mp4", "mkv", "ts") for beyond in (TOO_LARGE, TOO_MANY, TOO_LONG)]
    + [(f"a.{kind}", beyond) for kind in ("h264", "avi") for beyond in (TOO_LARGE, TOO_MANY)],  # no times
)
def test_limit_error_names_the_limit(tmp_path: Path, name: str, beyond: tuple[VideoLimits, str]) -> None:
    path = write_video(tmp_path / name)  # 64 x 48, 40 frames, 1.6 s = 0.00044 h
    limits, message = beyond
    with pytest.raises(VideoError, match=message) as caught:
        read(path, limits)
    assert str(caught.value).startswith(str(path))
    assert read(path, JUST_ENOUGH) == 40


def test_stated_lengths_alone_refuse_nothing(tmp_path: Path) -> None:
    for name, mark, place, value in (
        ("a.mp4", b"stts", 12, struct.pack(">I", 1_000_000_000)),
        ("b.avi", b"avih", 24, struct.pack("<I", 1_000_000_000)),
        ("c.flv", b"duration", 9, struct.pack(">d", 360_000.0)),
    ):
        content = bytearray(write_video(tmp_path / name).read_bytes())
        start = content.index(mark) + place
        content[start : start + len(value)] = value
        (tmp_path / name).write_bytes(content)
        assert read(tmp_path / name, LIMITS) == 40
        assert check_video(tmp_path / name) == 40  # nor is the file cut off


def test_timestamp_jump_is_no_long_video(tmp_path: Path) -> None:
    times = [*range(0, 800, 40), *range(93_600_000, 93_600_800, 40)]  # ms; 26 hours
    assert read(write_video(tmp_path / "a.mkv", frames=40, times=times), LIMITS) == 40


def test_a_huge_picture_stated(tmp_path: Path) -> None:
    content = bytearray(write_video(tmp_path / "a.avi", "mjpeg", pix_fmt="yuvj420p", b_frames=0).read_bytes())
    start = content.index(b"\xff\xc0")  # where a JPEG states its size, in each frame
    while start >= 0:
        struct.pack_into(">HH", content, start + 5, 60_000, 60_000)
        start = content.find(b"\xff\xc0", start + 1)
    (tmp_path / "b.avi").write_bytes(content)
    with pytest.raises(VideoError, match=r"b\.avi "):
        read(tmp_path / "b.avi", LIMITS)


def test_a_picture_that_grows_midway_is_not_decoded(tmp_path: Path) -> None:
    small, large = write_video(tmp_path / "a.h264"), write_video(tmp_path / "b.h264", width=640, height=480)
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    assert read(path, LIMITS) == 80
    assert read(path, VideoLimits(pixels=64 * 48)) == 40


def test_pictures_in_a_folder(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (56, 40)).save(tmp_path / f"{number}.jpg")
    assert read(tmp_path, VideoLimits(frames=3, pixels=56 * 40)) == 3
    with pytest.raises(VideoError, match=r" has 3 pictures, beyond limits\.frames = 2"):
        read(tmp_path, VideoLimits(frames=2))
    with pytest.raises(VideoError, match=r"0\.jpg has frames of 56 x 40 pixels, beyond limits\.pixels = 2239"):
        read(tmp_path, VideoLimits(pixels=56 * 40 - 1))


def test_the_picture_as_displayed_counts(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wide.mp4", frames=2, pixel_aspect=Fraction(8))
    assert read(path, VideoLimits(pixels=8 * 64 * 48)) == 2
    with pytest.raises(VideoError, match=r"wide\.mp4 has frames of 512 x 48 pixels.*, beyond limits\.pixels = 24575"):
        read(path, VideoLimits(pixels=8 * 64 * 48 - 1))


def test_thin_pictures_would_become_huge_ones(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for picture in (tmp_path / "thin.gif", tmp_path / "folder" / "1.png"):
        Image.new("L", (65_535, 1)).save(picture)
    aspect = write_video(tmp_path / "aspect.mkv", frames=2, width=256, height=16, pixel_aspect=Fraction(4))
    for path in (tmp_path / "thin.gif", tmp_path / "folder", aspect):
        with pytest.raises(VideoError, match=r"one side more than 32 times the other: leave it out"):
            read(path, LIMITS)


@pytest.mark.parametrize("side", [8_000, 100_000])
def test_a_huge_picture_in_a_folder(tmp_path: Path, side: int) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    content = bytearray((tmp_path / "1.png").read_bytes())
    struct.pack_into(">II", content, 16, side, side)
    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    (tmp_path / "1.png").write_bytes(content)
    with pytest.raises(VideoError, match=r"1\.png has .* pixels, beyond limits\.pixels = 35651584"):
        read(tmp_path, LIMITS)
