"""Streams that servers of the test send: what is recorded of them is predicted as one video."""

import re
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from video_files import decode_all, write_video
from vitaclip.data.lists.sources import find_videos
from vitaclip.data.lists.video_list import read_list
from vitaclip.data.reading import live
from vitaclip.data.reading.container import DEFAULT_LIMITS, VideoError
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.live import LiveVideo, is_live
from vitaclip.data.reading.path import RemoteVideo

SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Answers one connection; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                connection, _ = listening.accept()
                with connection:
                    answer(connection)
            except OSError:
                pass  # the other end had enough

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
    thread.join(10)


def send_rtsp(connection: socket.socket, stream: bytes) -> None:
    """A camera by RFC 2326 that sends a transport stream as RFC 2250 has it, interleaved with the answers."""
    requests = connection.makefile("rb")
    while line := requests.readline().decode():
        method, headers = line.split()[0], dict[str, str]()
        while (header := requests.readline().decode().strip()) != "":
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        body = SDP if method == "DESCRIBE" else ""
        extra = {
            "DESCRIBE": f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n",
            "SETUP": "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
        }.get(method, "")
        start = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\nSession: 1\r\nPublic: DESCRIBE, SETUP, PLAY\r\n"
        connection.sendall(f"{start}{extra}\r\n{body}".encode())
        if method == "PLAY":
            for number, place in enumerate(range(0, len(stream), 7 * 188)):
                packet = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number, 1) + stream[place : place + 7 * 188]
                connection.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
            return


def answer(scheme: str, stream: Path) -> Callable[[socket.socket], None]:
    """What sends a file to whoever connects."""
    content = stream.read_bytes()
    return lambda connection: send_rtsp(connection, content) if scheme == "rtsp" else connection.sendall(content)


@pytest.mark.parametrize("scheme", ["tcp", "rtsp"])
def test_stream_is_recorded_as_one_video(scheme: str, tmp_path: Path) -> None:
    stream = write_video(tmp_path / "x.ts", frames=60)
    with server(answer(scheme, stream)) as port, open_video(LiveVideo(f"{scheme}://127.0.0.1:{port}/x", 1.0)) as video:
        assert 24 <= video.num_frames <= 31  # of 60: a second of them
        frames = video.frames([0, 10, 20]).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(frames, decode_all(stream)[[0, 10, 20]])


@pytest.mark.parametrize("scheme", ["tcp", "rtsp"])
def test_frames_of_a_stream_come_one_by_one(scheme: str, tmp_path: Path) -> None:
    stream = write_video(tmp_path / "x.ts", frames=60)
    with (
        server(answer(scheme, stream)) as port,
        LiveVideo(f"{scheme}://127.0.0.1:{port}/x").connect(DEFAULT_LIMITS, "display") as connection,
    ):
        frames = [(time, pixels()) for (time, pixels), _ in zip(connection, range(30), strict=False)]
        connection.waits_for_key = True
        behind = [time for time, _ in connection if time is not None]
    np.testing.assert_array_equal(np.stack([each.permute(1, 2, 0) for _, each in frames]), decode_all(stream)[:30])
    times = [time for time, _ in frames if time is not None]
    np.testing.assert_allclose(np.diff(times), 0.04, atol=1e-6)
    assert connection.fps == 25
    numbers = {round((time - times[0]) / 0.04) for time in behind}
    assert {*range(31, 36)} - numbers  # a key frame every 12; the decoder had some of them already
    assert numbers >= {*range(36, 58)}


def test_camera_is_recorded_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a format of FFmpeg that opens a file in place of a device: there is no camera here."""
    write_video(tmp_path / "7.ts", frames=60)
    monkeypatch.setattr(live, "_V4L2", ("mpegts", f"{tmp_path}/{{}}.ts"))
    with open_video(LiveVideo("camera:7", 1.0)) as video:
        assert 24 <= video.num_frames <= 31  # of 60: a second of them
    monkeypatch.setattr(live, "_V4L2", ("no_such_format", "{}"))
    with pytest.raises(VideoError, match=r"camera:7 is no camera that answers \(this build of PyAV lacks no_such"):
        open_video(LiveVideo("camera:7")).__enter__()


def test_dead_addresses_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_SECONDS_OF_SILENCE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for scheme, told in (("rtsp", ".+"), ("tcp", ".+"), ("udp", "nothing came for 0.5 seconds")):
            with pytest.raises(
                VideoError, match=rf"{scheme}://127\.0\.0\.1:{port}/x cannot be reached \({told}\): check"
            ):
                open_video(LiveVideo(f"{scheme}://127.0.0.1:{port}/x")).__enter__()
    with pytest.raises(VideoError, match="cannot be reached") as caught:
        open_video(LiveVideo(f"rtsp://127.0.0.1:{port}/x")).__enter__()
    assert "\n" not in str(caught.value)
    with pytest.raises(VideoError, match=r"x\.mp4 cannot be reached \(.+\): check the address"):
        open_video(RemoteVideo(f"http://127.0.0.1:{port}/x.mp4")).__enter__()


def test_no_content_of_a_file_leads_to_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert all(is_live(f"{scheme}://host/1") for scheme in ("rtsp", "RTSPS", "rtmp", "rtmps", "srt", "udp", "tcp"))
    assert is_live("0")
    assert is_live("camera:12")
    Path("0").touch()
    assert not any(map(is_live, ("0", "clip.mp4", "https://host/a.mp4", "file:///x", "concat:a|b", "camera:x")))
    (tmp_path / "list.csv").write_text("rtsp://host/1,0\ncamera:0,0\n")
    assert all(isinstance(each.path, Path) for each in read_list(tmp_path / "list.csv").samples)
    assert all(isinstance(path, Path) for path in find_videos(["rtsp://host/1", "camera:0"]))
    (tmp_path / "x.mp4").write_text("#EXTM3U\nrtsp://host/1\n")
    with pytest.raises(VideoError, match=re.escape("x.mp4 cannot be read as a video")):
        open_video(tmp_path / "x.mp4").__enter__()
