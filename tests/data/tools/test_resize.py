"""Smaller copies: the same pictures at the same times, in less space, made once."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from small_world import Refusal
from video_files import write_video
from vitaclip.cli import main
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import open_video
from vitaclip.data.tools import ResizeConfig, find_copies, make_copies, resize_video
from vitaclip.data.transforms import resize

CONFIG = ResizeConfig(short_side=64, key_frame_interval=8, quality=12, workers=1)


def write_picture_video(path: Path, width: int, height: int, *, frames: int = 20, **settings: Any) -> Path:
    """Smooth colours that differ in every corner and move."""
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    waves = [127 + 127 * np.sin(6 * (x + number / frames)) for number in range(frames)]
    pictures = [np.stack([255 * x, 255 * y, wave], -1).astype(np.uint8) for wave in waves]
    return write_video(path, width=width, height=height, b_frames=0, pictures=pictures, **settings)


def all_frames(path: Path) -> torch.Tensor:
    with open_video(path) as video:
        return video.frames(range(video.num_frames))


def shrink(source: Path, tolerance: float = 4.0) -> Path:
    """The copy, whose frames are those of the source."""
    copy = source.with_name("copy.mp4")
    resize_video(source, copy, CONFIG)
    assert_same_pictures(source, copy, tolerance)
    return copy


def frame_times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [Fraction(frame.pts or 0) * (frame.time_base or 1) for frame in container.decode(video=0)]


def assert_same_pictures(source: Path, target: Path, tolerance: float = 4.0) -> None:
    """The copy's frames are those of the source, shrunk by an oracle of its own."""
    before, after = all_frames(source), all_frames(target)
    assert len(before) == len(after)
    wanted = resize(before, after.shape[-2], after.shape[-1])
    assert (wanted.float() - after.float()).abs().mean() < tolerance
    # Every frame is nearest to its own: none dropped, repeated or out of order.
    distances = (wanted[:, None].float() - after[None].float()).abs().mean((2, 3, 4))
    assert distances.argmin(1).tolist() == list(range(len(before)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((320, 240), (86, 64)),
        ((240, 320), (64, 86)),
        ((128, 128), (64, 64)),
        ((60, 40), (60, 40)),
        ((75, 51), (76, 52)),  # sides become even
    ],
)
def test_size_and_pictures(tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]) -> None:
    source = write_picture_video(tmp_path / "a.mkv", *size, codec="ffv1", pix_fmt="yuv444p")
    assert all_frames(shrink(source)).shape[:1:-1] == expected


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotations_and_mirrors_are_applied(tmp_path: Path, rotation: int, mirror: bool) -> None:
    settings: dict[str, Any] = {"width": 128, "height": 96, "rotation": rotation, "mirror": mirror}
    source = write_video(tmp_path / "a.mp4", frames=6, **settings)  # half of what 96 becomes of 128 is odd
    with av.open(str(shrink(source, tolerance=12))) as container:  # of noise
        frame = next(container.decode(video=0))
    assert frame.rotation == 0  # the copy is turned itself
    assert (frame.width > frame.height) == (rotation in (0, 180))


@pytest.mark.parametrize(
    "options",
    [
        {"codec": "mpeg4"},
        {"codec": "mjpeg", "pix_fmt": "yuvj420p"},  # full range
        {"codec": "ffv1", "pix_fmt": "bgra"},
        {"codec": "ffv1", "pix_fmt": "gray"},
        {"pix_fmt": "yuv420p10le"},
        {"pix_fmt": "yuv444p"},
        {"colorspace": 1},  # BT.709
        {"colorspace": 5},
    ],
)
def test_colours_stay(tmp_path: Path, options: dict[str, Any]) -> None:
    source = write_picture_video(tmp_path / "a.mkv", 160, 128, **options)
    difference = all_frames(source).float().mean((0, 2, 3)) - all_frames(shrink(source)).float().mean((0, 2, 3))
    assert difference.abs().max() < 2


@pytest.mark.parametrize("first", [0, 130])
def test_times_stay_and_begin_at_zero(tmp_path: Path, first: int) -> None:
    times = [first + time for time in (0, 3, 4, 10, 11, 30, 31, 50, 70, 71)]
    source = write_picture_video(tmp_path / "a.mkv", 128, 128, frames=10, times=[10 * time for time in times])
    assert [round(100 * time) for time in frame_times(shrink(source))] == [time - first for time in times]


@pytest.mark.parametrize("rotation", [0, 90])
def test_pixel_aspect_stays(tmp_path: Path, rotation: int) -> None:
    source = write_picture_video(tmp_path / "a.mp4", 160, 128, pixel_aspect=Fraction(4, 3), rotation=rotation)
    with av.open(str(shrink(source, tolerance=12))) as container:
        shape = container.streams.video[0].sample_aspect_ratio
    assert shape == (Fraction(3, 4) if rotation else Fraction(4, 3))


def test_key_frames_are_close_and_sound_is_gone(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mkv", frames=60, gop=60)
    with av.open(str(shrink(source, tolerance=12))) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        keys = [n for n, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    assert max(np.diff([*keys, 60])) <= 8


def endings(source: Path, target: Path, config: ResizeConfig = CONFIG) -> dict[str, str]:
    """How each video that has no copy yet fares."""
    waiting = {video: copy for video, copy in find_copies(source, target).items() if not copy.exists()}
    return {outcome.item.name: outcome.ending for outcome in make_copies(waiting, target, config)}


@pytest.mark.usefixtures("forked_workers")
def test_folder_is_shrunk_once(tmp_path: Path) -> None:
    source, target = tmp_path / "videos", tmp_path / "small"
    for name in ("tai_chi/a.mkv", "tai_chi/b.mp4", "yoga/sub/c.mp4"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        write_video(source / name, frames=6)
    (source / "yoga" / "cut.mp4").write_text("no video")
    assert endings(source, target) == {"a.mkv": "done", "b.mp4": "done", "c.mp4": "done", "cut.mp4": "refused"}
    made = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert made == ["tai_chi/a.mp4", "tai_chi/b.mp4", "yoga/sub/c.mp4"]
    # A second run has only the bad one left; mended, it is made, and nothing else is touched.
    (source / "yoga" / "cut.mp4").write_bytes((source / "tai_chi" / "b.mp4").read_bytes())
    before = {path: path.stat().st_mtime_ns for path in target.rglob("?.mp4")}
    (target / "yoga" / ".cut.mp4.1.tmp").write_text("left by a run that was killed")
    assert endings(source, target) == {"cut.mp4": "done"}
    assert {path: path.stat().st_mtime_ns for path in target.rglob("?.mp4")} == before
    assert not list(target.rglob(".*"))


@pytest.mark.usefixtures("forked_workers")
def test_late_file_fails_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", frames=60, width=480, height=360)
    config = ResizeConfig(short_side=360, quality=1, workers=1, time_limit_seconds=0.05)
    assert endings(tmp_path / "videos", tmp_path / "small", config) == {"a.mp4": "timed out"}
    assert not list((tmp_path / "small").iterdir())


@pytest.mark.usefixtures("forked_workers")
def test_stopped_resize_leaves_no_partial_file(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name in "abc":
        write_video(tmp_path / "videos" / f"{name}.mp4", frames=20, width=240, height=180)
    config = ResizeConfig(short_side=180, quality=1, workers=2)
    copies = find_copies(tmp_path / "videos", tmp_path / "small")
    outcomes = make_copies(copies, tmp_path / "small", config)
    next(outcomes)
    del outcomes
    made = {path.name for path in (tmp_path / "small").iterdir()}
    assert made - {copy.name for copy in copies.values()} == set()


def test_damaged_source_fails_and_leaves_nothing(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", frames=40)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 3])
    with pytest.raises(VideoError, match=r"a\.mp4 .*copy it again"):
        resize_video(source, tmp_path / "small" / "b.mp4", CONFIG)
    assert not list((tmp_path / "small").glob("*"))


@pytest.mark.parametrize(
    ("change", "source", "target", "message"),
    [
        (lambda path: None, "none", "small", "is no folder with a video"),
        (lambda path: None, "videos/a.mp4", "small", "is no folder with a video"),
        (lambda path: (path / "videos" / "a.mp4").unlink(), "videos", "small", "no folder with a video, at any depth"),
        (lambda path: None, "videos", "videos/small", "lies in"),
        (lambda path: None, "videos", ".", "lies in"),
        (lambda path: write_video(path / "videos" / "a.mkv", frames=3), "videos", "small", "both would become"),
        (lambda path: None, "videos", "small --short_side 255", "short_side = 255: give an even number"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    refusal: Refusal,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
    source: str,
    target: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("videos", "small"):
        (tmp_path / folder).mkdir()
    write_video(tmp_path / "videos" / "a.mp4", frames=3)
    write_video(tmp_path / "small" / "b.mp4", frames=3)
    change(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    error = refusal("data", "resize", source, *target.split())
    assert message in error
    assert "\n" not in error
    assert sorted(tmp_path.rglob("*")) == before


def test_command_counts_and_names_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", frames=6)
    (tmp_path / "videos" / "bad.mp4").write_text("no video")
    arguments = ["data", "resize", str(tmp_path / "videos"), str(tmp_path / "small"), "--short_side", "32"]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert f"failed: {tmp_path / 'videos' / 'bad.mp4'}" in printed.err
    rows = dict(" ".join(line.split()).strip("│ ").split(" │ ") for line in printed.out.splitlines() if "│" in line)
    assert (rows["shrunk"], rows["there already"]) == ("1", "0")
    (tmp_path / "videos" / "bad.mp4").unlink()
    assert main(arguments) == 0
    assert "there already" in capsys.readouterr().out
