"""Decoding of chosen frames against decoding of everything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from video_files import decode_all, write_video
from vitaclip.data import Video, VideoError, open_video

KINDS: dict[str, dict[str, Any]] = {
    "b_frames.mp4": {"b_frames": 3},
    "b_frames.mkv": {"b_frames": 3},
    "times_in_storage_order.avi": {"b_frames": 3},
    "no_index.ts": {"b_frames": 3},
    "no_times.h264": {"b_frames": 3},
    "one_key_frame.mp4": {"gop": 1000},
    "open_gop.mp4": {"b_frames": 3, "options": {"x264-params": "open-gop=1:keyint=12:scenecut=0"}},
    "open_gop.avi": {"b_frames": 3, "options": {"x264-params": "open-gop=1:keyint=12:scenecut=0"}},
    "intra_refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=12"}},
    "interlaced.mp4": {"options": {"x264-params": "tff=1"}},
    "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4.mp4": {"codec": "mpeg4"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "vp9.webm": {"codec": "libvpx-vp9", "b_frames": 0, "options": {"cpu-used": "8", "deadline": "realtime"}},
    "vp8.webm": {"codec": "libvpx", "b_frames": 0, "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p", "b_frames": 0},
    "picture.gif": {"codec": "gif", "pix_fmt": "rgb8", "b_frames": 0},
    "single_frame.mp4": {"frames": 1},
    "odd_size.mp4": {"width": 61, "height": 47, "pix_fmt": "yuv444p"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, folder: Path) -> Path:
    name: str = request.param
    return write_video(folder / name, **KINDS[name])


def test_any_frames_equal_full_decoding(kind: Path) -> None:
    everything = decode_all(kind)
    rng = np.random.default_rng(0)
    with open_video(kind) as video:
        assert video.num_frames == len(everything)
        assert (video.height, video.width) == everything.shape[1:3]
        choices = [rng.integers(len(everything), size=5) for _ in range(4)]
        single = [np.array([number]) for number in range(len(everything))]
        for chosen in [*choices, *single, np.arange(len(everything))]:
            frames = video.frames(chosen)
            assert frames.dtype == torch.uint8
            np.testing.assert_array_equal(frames.permute(0, 2, 3, 1).numpy(), everything[chosen])


@pytest.fixture(scope="module")
def long_gop(folder: Path) -> Iterator[tuple[Video, np.ndarray]]:
    path = write_video(folder / "long_gop.mp4", frames=60, gop=17, b_frames=4)
    with open_video(path) as video:
        yield video, decode_all(path)


@settings(max_examples=40, deadline=None)
@given(indices=st.lists(st.integers(0, 59), min_size=1, max_size=6))
def test_any_order_and_repeats(long_gop: tuple[Video, np.ndarray], indices: list[int]) -> None:
    video, everything = long_gop
    np.testing.assert_array_equal(video.frames(indices).permute(0, 2, 3, 1).numpy(), everything[indices])


@pytest.mark.parametrize("name", ["b_frames.mp4", "b_frames.mkv", "open_gop.mp4", "vp9.webm", "mpeg4.mp4"])
def test_fault_12_only_the_needed_frames_are_decoded(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(folder / f"needed_{name}", **KINDS[name])
    everything = decode_all(path)

    def refuse(self: Video) -> Iterator[av.VideoFrame]:
        raise AssertionError("decoded from the start")

    monkeypatch.setattr(Video, "_decode_everything", refuse)
    with open_video(path) as video:
        for chosen in (0, 13, 30, 39):
            frame = video.frames([chosen])[0]
            np.testing.assert_array_equal(frame.permute(1, 2, 0).numpy(), everything[chosen])


def test_fault_12_only_the_chosen_frames_are_converted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(folder / "converted.mp4")
    converted = []

    def record(_: Video, frame: av.VideoFrame) -> torch.Tensor:
        converted.append(frame.pts)
        return torch.zeros(frame.height, frame.width, 3, dtype=torch.uint8)

    monkeypatch.setattr(Video, "_to_rgb", record)
    with open_video(path) as video:
        video.frames([3, 20, 20, 31])
    assert len(converted) == 3


def test_frames_cut_off_by_an_edit_list_do_not_count(folder: Path) -> None:
    source, path = write_video(folder / "uncut.mp4"), folder / "cut.mp4"
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(source)) as reader, av.open(str(path), "w", options=options) as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts = packet.pts - 5 * 512, packet.dts - 5 * 512
                packet.stream = stream
                writer.mux(packet)
    everything = decode_all(path)
    assert len(everything) == 35
    with open_video(path) as video:
        assert video.num_frames == 35
        np.testing.assert_array_equal(
            video.frames([34, 0, 3, 20]).permute(0, 2, 3, 1).numpy(), everything[[34, 0, 3, 20]]
        )


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotation_is_applied(folder: Path, rotation: int) -> None:
    path = write_video(folder / f"rotated{rotation}.mp4", rotation=rotation)
    upright = np.rot90(decode_all(path)[7], rotation // 90)
    with open_video(path) as video:
        assert (video.height, video.width) == upright.shape[:2]
        np.testing.assert_array_equal(video.frames([7])[0].permute(1, 2, 0).numpy(), upright)


def test_rotation_of_a_phone_puts_the_top_on_top(folder: Path) -> None:
    """A display matrix of -90 (counter-clockwise) shows it turned clockwise: the stored left is on top."""
    path = folder / "phone.mp4"
    stored = np.zeros((32, 64, 3), dtype=np.uint8)
    stored[:, :16] = 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        stream.set_display_rotation(-90)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(stream.encode())
    with open_video(path) as video:
        frame = video.frames([0])[0]
    assert frame.shape == (3, 64, 32)
    assert frame[:, :12].float().mean() > 240
    assert frame[:, 20:].float().mean() < 15


def test_time_facts(folder: Path) -> None:
    path = write_video(folder / "facts.mp4", frames=50)
    with open_video(path) as video:
        assert video.fps == 25
        assert video.duration_seconds == 2


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


def test_truncated_file_with_its_index_in_front_gives_what_decodes(tmp_path: Path) -> None:
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
    with open_video(path) as video, pytest.raises(VideoError, match=r"frame 39 cannot be decoded; copy"):
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
