"""Segments cut out of a video: copied from the key frame before, or exact."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from video_files import decode_all, write_video
from vitaclip.data.reading.container import VideoError
from vitaclip.moments.clips import cut_clips
from vitaclip.moments.table import Moments, Segment

SEGMENT = Segment(1.0, 2.2, "red ❤/../heart", 0.9)  # frames 25 to 54; key frames are 0, 12, 24, ...


def moments(path: Path, *segments: Segment) -> Moments:
    names = tuple(dict.fromkeys(each.label for each in segments))
    return Moments(path, 4.0, 25.0, names, segments, np.zeros(1), np.zeros((1, len(names)), np.float32))


def with_sound(source: Path, target: Path) -> Path:
    """The video with four seconds of sound."""
    with av.open(str(source)) as pictures, av.open(str(target), "w") as output:
        video = output.add_stream_from_template(pictures.streams.video[0])
        sound = output.add_stream("aac", rate=8000)
        for packet in pictures.demux():
            if packet.dts is not None:
                packet.stream = video
                output.mux(packet)
        for number in range(32):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, 1000 * number, Fraction(1, 8000)
            output.mux(sound.encode(frame))
        output.mux(sound.encode())
    return target


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_copy_starts_at_the_key_frame_before(tmp_path: Path, suffix: str) -> None:
    film = write_video(tmp_path / f"film.{suffix}", frames=100)
    (clip,) = cut_clips(moments(film, SEGMENT), tmp_path / "clips")
    assert clip.name == f"film_001_red_heart.{'mp4' if suffix == 'mp4' else 'mkv'}"
    copied = decode_all(clip)
    assert 31 <= len(copied) <= 34  # b-frames beyond the end come with those they need
    assert np.array_equal(copied[:31], decode_all(film)[24:55])


def test_copy_keeps_the_sound(tmp_path: Path) -> None:
    film = with_sound(write_video(tmp_path / "silent.mp4", frames=100), tmp_path / "film.mp4")
    (clip,) = cut_clips(moments(film, SEGMENT), tmp_path)
    with av.open(str(clip)) as container:
        sound = list(container.decode(audio=0))
    assert sum(frame.samples for frame in sound) / 8000 == pytest.approx(1.3, abs=0.3)


def test_exact_clip_has_the_frames_of_the_segment(tmp_path: Path) -> None:
    film = write_video(tmp_path / "film.mp4", frames=100)
    first, second = cut_clips(moments(film, SEGMENT, Segment(3.9, 9.0, "x", 1)), tmp_path, exact=True)
    wanted, got = decode_all(film)[25:55].astype(int), decode_all(first).astype(int)
    distances = np.abs(wanted[:, None] - got[None]).mean((2, 3, 4))
    assert distances.argmin(1).tolist() == list(range(30))
    assert len(decode_all(second)) == 2  # to the end of the film
    with av.open(str(first)) as container:
        times = [round(float(frame.time or 0), 3) for frame in container.decode(video=0)]
    assert times == [round(n / 25, 3) for n in range(30)]


def test_video_that_is_gone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"film.mp4 does not exist"):
        cut_clips(moments(tmp_path / "film.mp4", SEGMENT), tmp_path)
    assert not list(tmp_path.iterdir())
