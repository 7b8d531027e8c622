"""What a file is called and what it says leads nowhere: no address is asked, no other file is read."""

import ast
import os
import re
import socket
import struct
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import vitaclip
from shard_files import tar_of
from video_files import decode_all, write_video
from vitaclip.data.lists.sources import find_videos, read_videos
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.tar import read_shard, to_video_path
from vitaclip.data.tools import ResizeConfig, check_video, resize_video


@pytest.fixture
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A port of this machine, and what was asked there."""
    asked: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            asked.append(b"connected")
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1], asked
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def playlists(port: int, other: Path) -> dict[str, str]:
    """Contents that name an address of this machine and a video outside the folder."""
    url = f"http://127.0.0.1:{port}/x.ts"
    hls = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
    return {
        "hls_url": hls.format(url),
        "hls_file": hls.format(other),
        "hls_key": hls.replace("#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF').format(url),
        "concat_url": f"ffconcat version 1.0\nfile '{url}'\n",
        "concat_file": f"ffconcat version 1.0\nfile '{other}'\n",
        "concat_neighbour": "ffconcat version 1.0\nfile 'good.mp4'\n",
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
        "dash": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{url}</BaseURL></MPD>',
        "rtsp": f"rtsptextrtsp://127.0.0.1:{port}/x\n",
        "reference": f"[Reference]\nRef1=http://127.0.0.1:{port}/x\n",
    }


def test_lists_of_addresses_are_no_videos(tmp_path: Path, listener: tuple[int, list[bytes]]) -> None:
    port, asked = listener
    write_video(tmp_path / "outside.ts", frames=5)
    write_video(tmp_path / "good.mp4", frames=5)
    for kind, content in playlists(port, tmp_path / "outside.ts").items():
        tar = tar_of(tmp_path / f"{kind}.tar", {"a.mp4": content.encode(), "a.cls": b"0"})
        paths = [tmp_path / f"{kind}{suffix}" for suffix in (".mp4", ".m3u8")]
        for path in paths:
            path.write_text(content)
            with pytest.raises(VideoError, match="cannot be read as a video"):
                resize_video(path, tmp_path / "small.mp4", ResizeConfig())
        for video in [*paths, to_video_path(f"{tar}::a.mp4")]:
            with pytest.raises(VideoError, match="cannot be read as a video"):
                check_video(video)
    assert asked == []


NAMES = [
    "12:30:05.mp4",
    "2023-01-01T10:30:00.mp4",
    "concat:good.mp4",
    "subfile,,start,0,end,0,,:good.mp4",
    "pic%d.gif",
    "what?[x]{1,2}*.gif",
    "-i.mp4",
    "x.tar::y.mp4",
    os.fsdecode(b"\xff\xfe.mp4"),
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_read_as_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "good.mp4", frames=3)
    codec, pix_fmt = ("gif", "rgb8") if name.endswith("gif") else ("libx264", "yuv420p")
    made = write_video(tmp_path / f"made{Path(name).suffix}", codec, frames=7, pix_fmt=pix_fmt, b_frames=0)
    expected = decode_all(made)
    made.rename(tmp_path / name)
    for path in (Path(name), Path(f"./{name}"), tmp_path / name, *find_videos([name])):
        with open_video(path) as video:
            np.testing.assert_array_equal(video.frames(range(7)).permute(0, 2, 3, 1), expected)
    resize_video(Path(name), tmp_path / "small.mp4", ResizeConfig())
    assert len(decode_all(tmp_path / "small.mp4")) == 7


@pytest.mark.parametrize("scheme", ["http", "https", "tcp", "ftp", "rtsp", "rtmp", "udp", "cache:http", "async:http"])
def test_folders_named_like_addresses_are_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: tuple[int, list[bytes]], scheme: str
) -> None:
    port, asked = listener
    monkeypatch.chdir(tmp_path)
    folder = Path(f"{scheme}:") / f"127.0.0.1:{port}"
    folder.mkdir(parents=True)
    write_video(tmp_path / "made.mkv", frames=3).rename(folder / "x.mp4")
    Path("list.csv").write_text(f"{folder}/x.mp4,0\n")
    (row,) = read_videos("list.csv", "data.train", classes="a, b").samples
    for path in (*find_videos(["."]), row.path):
        assert check_video(to_video_path(path)) == 3
    assert asked == []


def test_ffmpeg_opens_files_in_one_place() -> None:
    """Calls of av.open, less those that write: files in one place, streams that a user names in another."""
    calls = []
    for file in Path(vitaclip.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("av.open", "av.container.open"):
                modes = [ast.unparse(argument) for argument in node.args[1:2]]
                calls += [file.name] if modes != ["'w'"] else []
    assert sorted(calls) == ["container.py", "live.py"]


# ------------------------------------------------------------------------------------------------- tables that claim


def claim(path: Path, samples: int, size: int) -> None:
    """Rewrites an mp4 file so that its video has so many samples, all of one size, in one chunk."""
    content = bytearray(path.read_bytes())
    for kind, values in (
        (b"stsz", (0, size, samples)),
        (b"stts", (0, 1, samples, 1)),
        (b"stsc", (0, 1, 1, samples, 1)),
    ):
        struct.pack_into(f">{len(values)}I", content, content.index(kind) + 4, *values)
    path.write_bytes(content)


@pytest.mark.parametrize(("name", "samples"), [("a.mp4", 10_000_000), ("a.mov", 80_000_000), ("a.mp4", 0xFFFFFFFF)])
def test_millions_of_frames_claimed_take_no_memory(tmp_path: Path, name: str, samples: int) -> None:
    path = write_video(tmp_path / name, frames=5)
    claim(path, samples, 1)
    before = _peak_kilobytes()
    with (
        pytest.raises(VideoError, match=rf"a\.m[po][4v] has {samples} frames, beyond limits\.frames = 2592000"),
        open_video(path),
    ):
        pass
    assert _peak_kilobytes() - before < 50_000


@pytest.mark.parametrize("shares", [1, 20])
def test_samples_that_fragments_claim_take_no_memory(tmp_path: Path, shares: int) -> None:
    path = write_video(tmp_path / "a.mp4", container_options={"movflags": "frag_keyframe+empty_moov"})
    with open_video(path) as video:
        assert video.num_frames == 40
    content = path.read_bytes()
    table = struct.pack(">I4sII", 16, b"trun", 0, 30_000_000 // shares)
    inside = struct.pack(">I4sII", 16, b"tfhd", 0, 1) + table * shares
    inside = struct.pack(">I4s", 8 + len(inside), b"traf") + inside
    path.write_bytes(content + struct.pack(">I4s", 8 + len(inside), b"moof") + inside)
    before = _peak_kilobytes()
    with pytest.raises(VideoError, match=r"samples, beyond limits\.frames"), open_video(path):
        pass
    assert _peak_kilobytes() - before < 50_000


def _peak_kilobytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# ------------------------------------------------------------------------------------------------------- tar files


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_headers_of_gigabytes_are_not_read(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("a.mp4")
    header.type, header.size = kind, 6_000_000_000
    with (tmp_path / "x.tar").open("wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(6_000_100_000)  # sparse
    (problem,) = read_shard(str(tmp_path / "x.tar"))[1]
    assert re.search(r"x\.tar: is .* no tar file \(a header of 6000000000 bytes\)", problem)


def test_a_label_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    label = tarfile.TarInfo("a.cls")
    label.size = 6_000_000_000 // 512 * 512
    tar_of(tmp_path / "v.tar", {"a.mp4": b"0"})
    with (tmp_path / "x.tar").open("wb") as file:
        file.write((tmp_path / "v.tar").read_bytes()[:1024] + label.tobuf())
        file.truncate(1536 + label.size + 1024)
    (read,) = read_shard(str(tmp_path / "x.tar"))[0].values()
    assert len(read) == 65536  # no class, which is said where it is looked up


def test_a_missing_member_is_named_when_opened(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", frames=3).read_bytes()
    tar = tar_of(tmp_path / "x.tar", {"a.mp4": video, "a.cls": b"0"})
    missing, there = find_videos([f"{tar}::b.mp4", f"{tar}::a.mp4"])
    assert check_video(there) == 3
    with pytest.raises(VideoError, match=r"x\.tar::b\.mp4 does not exist"), open_video(missing):
        pass
