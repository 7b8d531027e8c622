"""Files that are missing, damaged, or no videos: one line with the path, what is wrong, and the remedy."""

from pathlib import Path

import av
import numpy as np
import pytest

from video_files import decode_all, write_video
from vitaclip.data import VideoError, open_video


def _check_one_line(path: Path, *words: str) -> None:
    with pytest.raises(VideoError) as caught, open_video(path) as video:
        video.frames([0])
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message


def test_missing_file(tmp_path: Path) -> None:
    _check_one_line(tmp_path / "none.mp4", "does not exist", "check the path")


def test_folder(tmp_path: Path) -> None:
    _check_one_line(tmp_path, "is a folder")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    _check_one_line(tmp_path / "empty.mp4", "0 bytes")


@pytest.mark.parametrize("content", [b"this is a text\n" * 200, bytes(range(256)) * 40])
def test_not_a_video(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "text.mp4").write_bytes(content)
    _check_one_line(tmp_path / "text.mp4", "cannot be read as a video")


def test_truncated_file_without_its_end(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    _check_one_line(tmp_path / "cut.mp4", "cannot be read as a video", "copy it again")


def test_sound_only(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    _check_one_line(path, "no video stream")


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
