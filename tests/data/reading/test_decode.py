"""Decoding of chosen frames against decoding of everything."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from video_files import decode_all, write_video
from video_kinds import KINDS, packets_of, remux, write_packets, write_streams
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import Video, open_video
from vitaclip.data.reading.frame_index import FrameIndex, SpanDecoder
from vitaclip.data.reading.source import VideoSource


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


def file_of(folder: Path, name: str) -> Path:
    """The file of a kind, made when it is first asked for."""
    if not (folder / name).exists():
        KINDS[name].make(folder / name)
    return folder / name


def as_stored(frames: Tensor) -> np.ndarray:
    """(n, 3, H, W) to (n, H, W, 3)."""
    return frames.permute(0, 2, 3, 1).numpy()


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("decoded in another way than expected")


@pytest.mark.parametrize("name", KINDS)
def test_any_frames_equal_full_decoding(name: str, folder: Path) -> None:
    path = file_of(folder, name)
    everything = decode_all(path)
    rng = np.random.default_rng(0)
    several = [rng.integers(len(everything), size=size) for size in (2, 3, 5, 5, 16)]
    for chosen in [*(np.array([number]) for number in range(len(everything))), *several, np.arange(len(everything))]:
        with open_video(path) as video:
            frames = video.frames(chosen)
        assert frames.dtype == torch.uint8
        np.testing.assert_array_equal(as_stored(frames), everything[chosen])
    with open_video(path) as video:
        assert (video.num_frames, *video.frames([0]).shape[2:]) == everything.shape[:3]
        for chosen in several:  # again and again from one open video
            np.testing.assert_array_equal(as_stored(video.frames(chosen)), everything[chosen])


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.decoded_from == "key frame"])
def test_only_needed_packets_are_decoded(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_of(folder, name)
    everything = decode_all(path)
    monkeypatch.setattr(Video, "_decode_everything", refuse)
    for chosen in {0, len(everything) // 3, len(everything) * 2 // 3, len(everything) - 1}:
        with open_video(path) as video:
            np.testing.assert_array_equal(as_stored(video.frames([chosen]))[0], everything[chosen])


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.decoded_from == "start"])
def test_unusual_files_are_decoded_from_start(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_of(folder, name)
    monkeypatch.setattr(SpanDecoder, "frames", refuse)
    with open_video(path) as video:
        np.testing.assert_array_equal(as_stored(video.frames([11]))[0], decode_all(path)[11])


@pytest.fixture(scope="module")
def long_gop(folder: Path) -> Iterator[tuple[VideoSource, np.ndarray]]:
    path = write_video(folder / "long_gop.mp4", frames=60, gop=17, b_frames=4)
    with open_video(path) as video:
        assert video.fps == 25
        yield video, decode_all(path)


@settings(max_examples=60, deadline=None)
@given(indices=st.lists(st.integers(0, 59), min_size=1, max_size=6))
def test_any_order_and_repeats(long_gop: tuple[VideoSource, np.ndarray], indices: list[int]) -> None:
    video, everything = long_gop
    np.testing.assert_array_equal(as_stored(video.frames(indices)), everything[indices])


def count_decoded(monkeypatch: pytest.MonkeyPatch, path: Path, indices: list[int]) -> int:
    """How many frames the decoder is made to give for `indices`."""
    given_out: list[int | None] = []
    decode = SpanDecoder._decode

    def record(self: SpanDecoder, *args: object) -> Iterator[av.VideoFrame]:
        for frame in decode(self, *args):  # type: ignore[arg-type]
            given_out.append(frame.pts)
            yield frame

    monkeypatch.setattr(Video, "_decode_everything", refuse)
    monkeypatch.setattr(SpanDecoder, "_decode", record)
    with open_video(path) as video:
        video.frames(indices)
    return len(given_out)


def test_unreferenced_frames_are_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"x264-params": "b-adapt=0:bframes=3:b-pyramid=none:keyint=100"}
    path = write_video(folder / "unreferenced.mp4", frames=60, options=options)
    # Three in four frames are B-frames that no other refers to.
    assert count_decoded(monkeypatch, path, [50]) <= 16


def test_what_lies_between_distant_frames_is_not_decoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(folder / "distant.mp4", frames=400, gop=10, b_frames=0, options={"x264-params": "scenecut=0"})
    assert count_decoded(monkeypatch, path, [0, 13, 14, 391]) == 1 + 5 + 2


def test_only_chosen_frames_are_converted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(folder / "converted.mp4")
    converted = []

    def record(tensor: Tensor) -> Tensor:
        converted.append(tensor.shape)
        return tensor[..., :5]

    with open_video(path) as video:
        frames = video.frames([20, 3, 20, 31], transform=record)
        whole = video.frames([20, 3, 20, 31])
    assert converted == [(1, 3, 48, 64)] * 3
    assert torch.equal(frames, whole[..., :5])


def frames_alive() -> int:
    return sum(type(alive) is av.VideoFrame for alive in gc.get_objects())


def test_no_frame_stays_in_memory(folder: Path) -> None:
    path = write_video(folder / "memory.mp4", rotation=90)
    with open_video(path) as video:
        gc.collect()
        gc.disable()
        try:
            before = frames_alive()
            video.frames(range(40))
            assert frames_alive() <= before + 1
        finally:
            gc.enable()


@pytest.mark.parametrize("name", ["sizes.h264", "sizes.mkv"])
def test_frames_of_several_sizes_take_the_first_size(name: str, folder: Path) -> None:
    parts = [write_video(folder / f"{width}.h264", frames=20, width=width) for width in (64, 32)]
    (folder / "sizes.h264").write_bytes(b"".join(part.read_bytes() for part in parts))
    if name.endswith(".mkv"):
        remux(folder / "sizes.h264", folder / name)
    small = [frame.reformat(64, 48, "rgb24").to_ndarray() for frame in av.open(str(parts[1])).decode(video=0)]
    expected = np.concatenate([decode_all(parts[0]), np.stack(small)])
    for chosen in ([19, 20], [20], [39, 0], range(40)):
        with open_video(folder / name) as video:
            np.testing.assert_array_equal(as_stored(video.frames(chosen)), expected[list(chosen)])


def test_a_cover_picture_is_no_video(folder: Path) -> None:
    path = folder / "song.mp4"
    write_streams(path, cover=True, videos=(), sound=True)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(VideoError, match=r"song\.mp4 holds no video stream: leave it out"), open_video(path):
        pass


def test_a_damaged_stretch_falls_back_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_video(tmp_path / "whole.mkv", frames=60)
    packets = packets_of(source)
    packets[15] = replace(packets[15], data=b"\0\0\0\xff" + packets[15].data[4:])
    path = write_packets(tmp_path / "a.mkv", source, packets)
    alone = list[int]()
    decode_alone = Video._decode_alone

    def noted(video: Video, index: FrameIndex, number: int) -> VideoFrame | None:
        alone.append(number)
        return decode_alone(video, index, number)

    monkeypatch.setattr(Video, "_decode_alone", noted)
    with open_video(path) as video:
        assert len([*video.stream(range(60))]) == 60
    assert alone == [*range(12, 24)]


def test_times_are_those_of_the_file(tmp_path: Path) -> None:
    times = [0, 40, 80, 500, 540, 2000, 2040, 2080]
    path = write_video(tmp_path / "pauses.mkv", frames=8, b_frames=2, times=times)
    with open_video(path) as video:
        np.testing.assert_allclose(video.times, np.array(times) / 1000)
