"""Damaged video files of every kind, made from good ones; and what reading them comes to."""

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av
import av.error
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from video_files import moving_texture
from video_kinds import KINDS
from vitaclip.data.config import AugmentConfig
from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.loading.clips import EvalViews, TrainClips
from vitaclip.data.loading.loader import TrainDataset
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import open_video
from vitaclip.data.sampling import FrameSampling
from vitaclip.data.transforms import FrameFit, TrainTransform
from vitaclip.data.workers import Outcome, run_in_processes

GOOD = """
    h264_b_frames.mp4 h264_b_frames.mkv h264_b_frames.flv h264_no_container_index.ts h264_open_gop.avi
    h264_no_times.h264 h264_interlaced.mp4 h264_fragmented.mp4 h264_10_bit.mp4 hevc.mp4 hevc.ts mpeg4.avi
    mpeg4_packed_b_frames.avi mpeg1.mpg mpeg2.mpg vp8_hidden_frames.webm vp9_hidden_frames.webm av1.mp4 mjpeg.avi
    gif.gif ffv1.mkv cut_by_edit_list.mp4 sound.mp4 two_videos.mkv""".split()  # noqa: SIM905 - a list of words reads best
PICTURES = ("picture.png", "picture.jpg", "picture.webp", "picture.bmp")
"""These are damaged too, and put in a folder of pictures in the place of a frame."""

_HUGE = (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 1_000_000_000, 100_000_000, 0xFFFF, 0x7FFF)
_MP4_BOXES = b"mvhd tkhd elst mdhd stsd stts ctts stsc stsz stco stss avc1 hvc1 avcC hvcC tfhd trun".split()
_MP4_HOLDERS = frozenset(b"moov trak mdia minf stbl edts udta dinf moof traf mvex".split())
_HEADER_BYTES = 600

Damage = Callable[[bytes, bytes, np.random.Generator], bytes]
"""Takes a good file's content and another's."""


def _overwrite(content: bytes, place: int, part: bytes) -> bytes:
    return content[:place] + part + content[place + len(part) :]


def _flip_bits(content: bytes, _: bytes, rng: np.random.Generator, share: float = 0.0) -> bytes:
    damaged = np.frombuffer(content, np.uint8).copy()
    places = rng.integers(len(damaged), size=max(int(rng.integers(1, 9)), int(share * len(damaged))))
    damaged[places] ^= (1 << rng.integers(8, size=len(places))).astype(np.uint8)
    return damaged.tobytes()


def _flip_header_bits(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return _flip_bits(content[:_HEADER_BYTES], other, rng) + content[_HEADER_BYTES:]


def _state_huge_sizes(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    """One to three fields of the header; of mp4 files those after the name of a box."""
    boxes = [content.rindex(box) + len(box) for box in _MP4_BOXES if box in content]
    for _field in range(rng.integers(1, 4)):
        start = boxes[rng.integers(len(boxes))] if boxes else 0
        place = start + int(rng.integers(0, 40 if boxes else min(_HEADER_BYTES, len(content))))
        value = int(rng.choice(_HUGE))
        size, order = (2 if value <= 0xFFFF else 4), "little" if rng.integers(2) and not boxes else "big"
        content = _overwrite(content, place, value.to_bytes(size, order))  # type: ignore[arg-type]
    return content


def _zero_a_stretch(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    start, end = sorted(rng.integers(len(content), size=2).tolist())
    return content[:start] + bytes(end - start) + content[end:]


def _splice(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content))] + other[rng.integers(len(other)) :]


def _leave_out_or_repeat(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    first, second = rng.integers(len(content), size=2)
    return content[:first] + content[second:]


def _boxes(content: bytes) -> list[tuple[int, int]]:
    """Begin and end of every box of an mp4 file, those inside others too; of other files, of stretches at random."""
    found, stretches = [], [(0, len(content))]
    while stretches:
        start, end = stretches.pop()
        while start + 8 <= end:
            size = int.from_bytes(content[start : start + 4], "big")
            if size < 8 or start + size > end:
                break
            found.append((start, start + size))
            if content[start + 4 : start + 8] in _MP4_HOLDERS:
                stretches.append((start + 8, start + size))
            start += size
    return found or [(start, min(start + 188, len(content))) for start in range(0, len(content), 188)]


def _rearrange_boxes(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    """A box left out, repeated, put elsewhere, named or sized like another."""
    boxes = _boxes(content)
    (start, end), (place, other_end) = (boxes[n] for n in rng.integers(len(boxes), size=2))
    return (
        content[:start] + content[end:],
        content[:place] + content[start:end] * int(rng.integers(1, 50)) + content[place:],
        _overwrite(content, start + 4, content[place + 4 : place + 8]),
        _overwrite(content, start, (other_end - place + int(rng.integers(-1, 2))).to_bytes(4, "big")),
    )[rng.integers(4)]


def _shuffle_table(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    """The numbers in a box in another order, all alike, or any."""
    start, end = (boxes := _boxes(content))[rng.integers(len(boxes))]
    table = np.frombuffer(content[start + 12 : end - (end - start) % 4], np.uint8)
    words = np.ascontiguousarray(table[: len(table) // 4 * 4].reshape(-1, 4))
    drawn = rng.integers(256, size=words.shape, dtype=np.uint8)
    changed = (rng.permutation(words), np.broadcast_to(words[:1], words.shape), words[::-1], drawn)[rng.integers(4)]
    return _overwrite(content, start + 12, changed.tobytes())


def _shuffle_blocks(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    size = int(rng.choice([32, 188, 512, 4096]))
    blocks = [content[start : start + size] for start in range(0, len(content), size)]
    return b"".join(blocks[:2] + [blocks[2:][n] for n in rng.permutation(len(blocks[2:]))[int(rng.integers(0, 3)) :]])


def _interleave(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    size = int(rng.choice([64, 188, 1024]))
    starts = range(0, max(len(content), len(other)), size)
    return b"".join(content[start : start + size] + other[start : start + size] for start in starts)


def _remux(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    """Packets in another container: lost, cut, repeated, in another order, with other times, all called key frames."""
    target = io.BytesIO()
    # What cannot be read is left as it is.
    with suppress(av.error.FFmpegError, ValueError, IndexError), av.open(io.BytesIO(content), "r") as source:
        template = source.streams.video[0]
        stored = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in source.demux(template) if p.size]
        change = rng.integers(6)
        if change == 0:
            stored = [stored[n] for n in rng.permutation(len(stored))]
        elif change == 1:
            stored = [packet for packet in stored for _ in range(rng.choice([0, 1, 1, 1, 2]))]
        elif change == 2:
            stored = [(data, int(rng.integers(1 << 20)), None, key) for data, *_, key in stored]
        elif change == 3:
            stored = [(data[: rng.integers(1, len(data) + 1)], pts, dts, True) for data, pts, dts, _ in stored]
        elif change == 4:
            stored = [(data, None, place, key) for place, (data, *_, key) in enumerate(stored)]
        with av.open(target, "w", format=str(rng.choice(["matroska", "avi", "mpegts", "mp4", "nut"]))) as container:
            stream = container.add_stream_from_template(template)
            for data, pts, dts, is_key in stored:
                packet = av.Packet(data)
                packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, pts, dts, is_key
                with suppress(av.error.FFmpegError):
                    container.mux_one(packet)
    return target.getvalue() or content


DAMAGES: dict[str, Damage] = {
    "a few bits flipped": _flip_bits,
    "a few bits of the header flipped": _flip_header_bits,
    "one byte in a hundred with a bit flipped": partial(_flip_bits, share=0.01),
    "cut off": lambda content, _, rng: content[: rng.integers(1, len(content))],
    "the beginning lost": lambda content, _, rng: content[rng.integers(1, len(content)) :],
    "another file's header": lambda content, other, rng: (
        other[: (size := int(rng.integers(8, _HEADER_BYTES)))] + content[size:]
    ),
    "huge sizes stated": _state_huge_sizes,
    "a stretch of zeros": _zero_a_stretch,
    "spliced with another file": _splice,
    "a part left out or repeated": _leave_out_or_repeat,
    "boxes rearranged": _rearrange_boxes,
    "tables shuffled": _shuffle_table,
    "blocks shuffled": _shuffle_blocks,
    "interleaved with another file": _interleave,
    "packets remuxed": _remux,
    "empty": lambda *_: b"",
    "a text": lambda content, _, rng: b"not a video at all\n" * int(rng.integers(1, 500)),
    "random bytes": lambda content, _, rng: rng.bytes(len(content)),
}


@dataclass(frozen=True)
class Damaged:
    """A file, or a folder of pictures one of which is damaged."""

    path: Path
    damage: str


def write_damaged(folder: Path, count: int, seed: int = 0) -> Iterator[Damaged]:
    """Writes damaged files, each kind of damage as often as the others."""
    good = folder / "good"
    good.mkdir(parents=True, exist_ok=True)
    for name in GOOD:
        KINDS[name].make(good / name)
    picture = next(moving_texture(1, 48, 64))
    for name in PICTURES:
        Image.fromarray(picture).save(good / name)
    contents = {name: (good / name).read_bytes() for name in (*GOOD, *PICTURES)}
    names = list(contents)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        damage = list(DAMAGES)[number % len(DAMAGES)]
        name, other = (names[place] for place in rng.choice(len(names), 2, replace=False))
        content = DAMAGES[damage](contents[name], contents[other], rng)
        path = folder / f"{number:05d}_{name}"
        if name in PICTURES:
            path.mkdir()
            for frame in range(4):
                frame_content = content if frame == 0 else contents[name]
                (path / f"{frame}{Path(name).suffix}").write_bytes(frame_content)
        else:
            path.write_bytes(content)
        yield Damaged(path, damage)


MOST_BYTES = 300_000_000
"""Memory that reading a damaged file may take."""


class Reading(NamedTuple):
    """What reading a file came to."""

    error: str
    """In one line that names the file; empty if there are frames."""
    peak_bytes: int
    """Most memory of the process meanwhile, above that at its start; 0 where the system does not tell."""


def read(path: Path) -> Reading:
    """Reads a file as training and test do, and watches the memory of this process."""
    if (refs := Path("/proc/self/clear_refs")).exists():
        refs.write_text("5")  # the peak starts anew from what is resident
    before = _peak_bytes()
    return Reading(_read(path), _peak_bytes() - before)


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def _read(path: Path) -> str:
    """Makes a training clip and test views; the error in one line that names the file, empty if there are frames.

    Raises:
        AssertionError: these have other shapes than they must, a frame by itself is not what it is among others, or the
            error is not one line that names the file.
    """
    try:
        transform = TrainTransform(32, AugmentConfig(randaugment="rand-m7-n2"))
        clips = TrainClips(FrameSampling("dense", 8, 4), transform)
        clip = TrainDataset([VideoSample(path, (0,), str(path))], clips, 0)[0, 0, 1].video
        assert clip is not None
        assert clip.shape == (8, 3, 32, 32)
        assert EvalViews(clips.sampling, 3, 1, 32).read(path).shape == (3, 8, 3, 32, 32)
        _check_single_frames(path)
    except VideoError as error:
        message = str(error)
        assert str(path) in message
        assert "\n" not in message
        return message
    return ""


def _check_single_frames(path: Path) -> None:
    with open_video(path) as clip:
        numbers = list(range(min(clip.num_frames, 60)))
        together = clip.frames(numbers, _shrink)
    for number in numbers[:: max(1, len(numbers) // 3)]:
        with open_video(path) as clip:
            alone = clip.frames([number], _shrink)[0]
        assert torch.equal(alone, together[number]), f"frame {number} by itself is another than among others"


def _shrink(frame: Tensor) -> Tensor:
    return FrameFit().resize(frame, 32)


def read_all(
    files: list[Damaged], processes: int, time_limit_seconds: float
) -> Iterator[tuple[Damaged, str, Outcome[Path, Reading]]]:
    """Each with what it came to: frames, named error, or how its process ended."""
    by_path = {file.path: file for file in files}
    for outcome in run_in_processes(read, list(by_path), processes, time_limit_seconds):
        fate: str = outcome.ending
        if outcome.result is not None:
            fate = "named error" if outcome.result.error else "frames"
        yield by_path[outcome.item], fate, outcome
