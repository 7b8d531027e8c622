"""Files that are missing, damaged, or no videos: one line with the path, what is wrong, and the remedy."""

import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from video_files import decode_all, write_video
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import open_video


def write_sound(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    return path


def write_without_end(path: Path) -> Path:
    write_video(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def link_to_nothing(path: Path) -> Path:
    path.symlink_to("gone.mp4")
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda folder: folder / "none.mp4", "does not exist: check the path"),
        (lambda folder: link_to_nothing(folder / "link.mp4"), r"is a link to gone\.mp4, which is not there"),
        (lambda folder: folder, "is a folder"),
        (lambda folder: pipe(folder / "pipe.mp4"), "is a pipe or device, not a file"),
        (lambda folder: write(folder / "empty.mp4", b""), r"is empty \(0 bytes\)"),
        (lambda folder: write(folder / "text.mp4", b"this is a text\n" * 200), "cannot be read as a video"),
        (lambda folder: write(folder / "bytes.mp4", bytes(range(256)) * 40), "cannot be read as a video"),
        (lambda folder: write_without_end(folder / "cut.mp4"), "cannot be read as a video .*copy it again"),
        (lambda folder: write_sound(folder / "sound.wav"), "holds no video stream"),
    ],
)
def test_what_is_no_video_is_one_line(make: Callable[[Path], Path], problem: str, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(VideoError, match=problem) as caught, open_video(path) as video:
        video.frames([0])
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_truncated_faststart_file_gives_what_decodes(tmp_path: Path) -> None:
    options = {"movflags": "faststart"}
    whole = write_video(tmp_path / "whole.mp4", container_options=options)
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with open_video(tmp_path / "cut.mp4") as video:
        assert 5 < video.num_frames < 40
        wanted = [0, 5, video.num_frames // 2]
        np.testing.assert_array_equal(video.frames(wanted).permute(0, 2, 3, 1).numpy(), decode_all(whole)[wanted])
        with pytest.raises(VideoError, match="has frames 0"):
            video.frames([39])


def test_damaged_inside(tmp_path: Path) -> None:
    path = write_video(tmp_path / "damaged.mp4")
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    content[start:-3000] = bytes(len(content) - 3000 - start)
    path.write_bytes(content)
    with (
        open_video(path) as video,
        pytest.raises(VideoError, match=r"holds no frame that can be decoded: copy it again"),
    ):
        video.frames([39])


def test_indices_outside(tmp_path: Path) -> None:
    path = write_video(tmp_path / "short.mp4", frames=3)
    with open_video(path) as video:
        with pytest.raises(VideoError, match=r"has frames 0\.\.2"):
            video.frames([3])
        with pytest.raises(VideoError, match=r"has frames 0\.\.2"):
            video.frames([-1])
        with pytest.raises(ValueError, match="empty list"):
            video.frames([])
