"""A frame number means one picture, whatever else is asked for: damaged, joined and oddly stored files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from video_files import write_video
from video_kinds import Stored, packets_of, remux, write_packets
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import open_video


def decode_by_time(path: Path) -> dict[int, np.ndarray]:
    """Oracle: PyAV decodes everything, and goes on behind packets that fail; the frames by their times."""
    frames = {}
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1  # several conceal damage in another way
        for packet in container.demux(video=0):
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:
                continue
            frames.update({frame.pts or 0: frame.to_ndarray(format="rgb24") for frame in decoded})
    return frames


def read(path: Path, numbers: list[int]) -> np.ndarray:
    """Read, and streamed too, which must give the same."""
    with open_video(path) as video:
        frames = video.frames(numbers)
        streamed = torch.stack([*video.stream(sorted(numbers))])
        assert torch.equal(streamed, frames[np.argsort(numbers, kind="stable")])
        return frames.permute(0, 2, 3, 1).numpy()


def groups(count: int) -> Iterator[list[int]]:
    """All, each alone, and some at random, also in reverse."""
    rng = np.random.default_rng(0)
    yield list(range(count))
    yield from ([number] for number in range(count))
    yield from (rng.integers(count, size=size).tolist() for size in (2, 3, 5, 8))


def flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    bits[rng.integers(len(bits), size=int(rng.integers(1, 9)))] ^= 1
    return np.packbits(bits).tobytes()


EVEN = list(range(40))
UNEVEN = [4 * n + 2 * (n % 3 == 2) for n in range(40)]  # every third frame is nearer to the next than to the last


@pytest.mark.parametrize(
    ("name", "codec", "b_frames", "lost", "times"),
    [
        ("a.mp4", "libx264", 2, [15], EVEN),
        ("a.mkv", "libx264", 2, [15], EVEN),
        ("a.mkv", "libx264", 0, [18, 19, 20, 21, 22, 23], EVEN),  # up to the next key frame
        ("a.mkv", "libx264", 0, [20], UNEVEN),  # the next frame is nearer, but refers to it
        ("a.mkv", "mjpeg", 0, [0, 20, 30, 31, 32, 33, 39], UNEVEN),
    ],
)
def test_nearest_good_frame_stands_in(
    name: str, codec: str, b_frames: int, lost: list[int], times: list[int], tmp_path: Path
) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    source = write_video(tmp_path / f"even_{name}", codec, b_frames=b_frames, pix_fmt=pix_fmt)
    packets = [replace(packet, display_time=times[packet.display_time]) for packet in packets_of(source)]
    whole = decode_by_time(write_packets(tmp_path / f"whole_{name}", source, packets))
    for place in lost:  # a length beyond the packet's end; in mjpeg, no more than the marks of its tables and its scan
        rest = b"\xff\xdb\xff\xda" if codec == "mjpeg" else packets[place].data[4:]
        packets[place] = replace(packets[place], data=b"\0\0\0\xff" + rest)
    path = write_packets(tmp_path / name, source, packets)
    decoded = decode_by_time(path)
    missing = {number for number, time in enumerate(whole) if time not in decoded}
    assert len(missing) == len(lost)
    good = [time for time in decoded if np.array_equal(decoded[time], whole[time])]
    nearest = {time: min(good, key=lambda other: (abs(other - time), other)) for time in whole}
    pictures = np.stack([decoded[time if time in decoded else nearest[time]] for time in whole])
    for numbers in groups(40):
        np.testing.assert_array_equal(read(path, numbers), pictures[numbers])
    with open_video(path) as video:
        video.frames(range(40))
        assert video.replaced == missing


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.mp4", "libx264"), ("a.webm", "libvpx-vp9")])
def test_frames_near_damage_equal_full_decoding(name: str, codec: str, tmp_path: Path) -> None:
    source = write_video(tmp_path / f"whole_{name}", codec, b_frames=3 if codec == "libx264" else 0)
    packets = packets_of(source)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        place = int(rng.integers(len(packets)))
        damaged = [*packets]
        damaged[place] = replace(packets[place], data=flip_bits(packets[place].data, rng))
        path = write_packets(tmp_path / name, source, damaged)
        decoded, whole = decode_by_time(path), decode_by_time(source)
        pictures: list[np.ndarray] = []
        for time in whole:
            pictures.append(decoded[time] if time in decoded else pictures[-1])
        for numbers in groups(40):
            np.testing.assert_array_equal(read(path, numbers), np.stack([pictures[n] for n in numbers]))


@pytest.mark.parametrize("cut", [7, 8, 12])
def test_joined_hevc_gives_one_picture_for_a_number(cut: int, tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "whole.mp4", "libx265", b_frames=4, options={"x265-params": "log-level=none:keyint=12:scenecut=0"}
    )
    packets = packets_of(source)
    key = [place for place, packet in enumerate(packets) if packet.is_key][2]
    end_of_sequence = b"\0\0\0\2\x48\x01"
    first = [*packets[: cut - 1], replace(packets[cut - 1], data=packets[cut - 1].data + end_of_sequence)]
    second = [
        replace(p, display_time=p.display_time - packets[key].display_time + cut + 4, decode_time=n + cut - 16)
        for n, p in enumerate(packets[key:])
    ]
    taken = {packet.display_time for packet in second}
    joined = [packet for packet in first if packet.display_time not in taken] + second
    path = write_packets(tmp_path / "joined.mp4", source, joined)
    assert len(decode_by_time(path)) < len(joined)  # pictures that lead to the second key frame are left out
    everything = read(path, list(range(len(joined))))
    for numbers in groups(len(joined)):
        np.testing.assert_array_equal(read(path, numbers), everything[numbers])


def without_reorder_depth(data: bytes) -> bytes:
    """Takes the last part, which says how far frames are out of order, from the x264 parameter sets in some data."""
    start = data.find(b"\0\0\1\x67") + 4
    end = data.index(b"\0\0\1", start)
    unit = data[start:end].rstrip(b"\0").replace(b"\0\0\3", b"\0\0")
    bits = "".join(f"{byte:08b}" for byte in unit)
    place = 24

    def golomb() -> int:
        nonlocal place
        zeros = bits.index("1", place) - place
        place += 2 * zeros + 1
        return int(bits[place - zeros - 1 : place], 2) - 1

    golomb()  # number of the set; the profile is Main: nothing on colours follows
    golomb()
    if golomb() == 0:
        golomb()
    golomb()
    place += 1
    golomb()
    golomb()
    place += 2  # frames only, direct inference
    place += 1
    assert bits[place - 1] == "0"  # no cropping
    kept = bits[:place] + "01"
    kept += "0" * (-len(kept) % 8)
    payload = bytes(int(kept[n : n + 8], 2) for n in range(0, len(kept), 8))
    for value in range(4):
        payload = payload.replace(bytes((0, 0, value)), bytes((0, 0, 3, value)))
    return data[:start] + payload + data[end:]


@pytest.mark.parametrize("name", ["late.mkv", "late.mp4", "late.avi"])
def test_b_frames_that_nothing_announces_are_in_order(name: str, tmp_path: Path) -> None:
    """FFmpeg itself loses some: the oracle decodes the two parts apart, the second from a file that announces them."""
    ordered = [
        write_video(tmp_path / f"{b}.mp4", frames=20, b_frames=b, seed=b, options={"profile": "main"}) for b in (0, 5)
    ]
    parts = [remux(path, path.with_suffix(".h264")) for path in ordered]
    pictures = np.stack([picture for path in ordered for picture in decode_by_time(path).values()])
    joined: list[Stored] = []
    for part, timed in zip(parts, ordered, strict=True):
        start = len(joined)
        for stored, other in zip(packets_of(part), packets_of(timed), strict=True):
            data = without_reorder_depth(stored.data) if stored.is_key else stored.data
            time = other.display_time + start if not name.endswith("avi") else len(joined)
            joined.append(Stored(data, time, len(joined) - (0 if name.endswith("avi") else 16), stored.is_key))
    path = write_packets(tmp_path / name, parts[0], joined)
    for numbers in groups(40):
        np.testing.assert_array_equal(read(path, numbers), pictures[numbers])


def test_long_gaps_are_refused_by_name(tmp_path: Path) -> None:
    source = write_video(tmp_path / "whole.webm", "libvpx-vp9", frames=300, b_frames=0, gop=1000, width=32, height=32)
    packets = [replace(p, data=p.data if n < 5 else b"\xff" * 40) for n, p in enumerate(packets_of(source))]
    path = write_packets(tmp_path / "gap.webm", source, packets)
    assert np.array_equal(read(path, [200]), read(path, [4]))
    with open_video(path) as video:
        video.frames([3, 200, 5, 4])
        assert video.replaced == {5, 200}
    with pytest.raises(VideoError, match=r"gap\.webm is damaged: frames 5\.\.299 cannot be decoded; copy it again"):
        read(path, [299])
