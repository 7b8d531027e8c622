"""Video files of every kind that reading has to get right. `KINDS` says how to make each, and how it can be decoded."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.stream import Disposition

from video_files import moving_texture, write_video

FRAMES = 40
HEIGHT, WIDTH = 48, 64

DecodedFrom = Literal["key frame", "start", "either"]


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    what: str
    """What is special about it."""
    make: Callable[[Path], object]
    """Writes it."""
    decoded_from: DecodedFrom = "key frame"
    """Where decoding of a single frame begins. Either: at the key frame, unless that gives wrong frames."""


# ------------------------------------------------------------------------------------- files as an encoder makes them


def _plain(what: str, decoded_from: DecodedFrom = "key frame", **settings: Any) -> Kind:
    return Kind(what, partial(write_video, frames=FRAMES, **settings), decoded_from)


def _x264(parameters: str) -> dict[str, Any]:
    return {"b_frames": 3, "options": {"x264-params": parameters}}


def _x265(parameters: str, **settings: Any) -> dict[str, Any]:
    return {"codec": "libx265", "options": {"x265-params": f"log-level=none:{parameters}"}, **settings}


def _vpx(codec: str, **settings: Any) -> dict[str, Any]:
    options = {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "4"}
    return {"codec": codec, "b_frames": 0, "options": options, **settings}


# --------------------------------------------------------------------------- files put together from encoded pictures


@dataclass(frozen=True)
class Stored:
    """Encoded data and what its container is to say of it; times in 1/25 seconds."""

    data: bytes
    display_time: int
    decode_time: int
    is_key: bool


def _encode(codec: str, b_frames: int = 0) -> list[Stored]:
    """The moving texture, in storage order."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    context.gop_size, context.max_b_frames, context.thread_count = 12, b_frames, 1
    packets = []
    for number, picture in enumerate(moving_texture(FRAMES, HEIGHT, WIDTH)):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts = number
        packets += context.encode(frame)
    packets += context.encode()
    return [Stored(bytes(p), p.pts or 0, p.dts or 0, p.is_keyframe) for p in packets]


def _store(path: Path, codec: str, pictures: list[Stored]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in pictures:
            packet = av.Packet(picture.data)
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts, packet.dts = picture.display_time, picture.decode_time
            packet.is_keyframe = picture.is_key
            container.mux(packet)


def _store_in_sequence(path: Path, codec: str, pictures: list[tuple[bytes, bool]]) -> None:
    """Data, key frame?; the times count the packets."""
    _store(path, codec, [Stored(data, n, n, is_key) for n, (data, is_key) in enumerate(pictures)])


def packets_of(path: Path) -> list[Stored]:
    """The packets of a file that PyAV has written, in storage order; their times are made 1/25 s apart."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        times = sorted({packet.pts or 0 for packet in packets})
        number = times.index if len(times) == len(packets) else None
        return [
            Stored(bytes(packet), number(packet.pts or 0) if number else place, place - 16, packet.is_keyframe)
            for place, packet in enumerate(packets)
        ]


def write_packets(path: Path, like: Path, packets: list[Stored]) -> Path:
    """Stores packets in a file whose header says of them what another's says of its own."""
    with av.open(str(like)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for stored in packets:
            packet = av.Packet(stored.data)
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts, packet.dts = stored.display_time, stored.decode_time
            packet.is_keyframe = stored.is_key
            container.mux(packet)
    return path


def remux(source: Path, path: Path) -> Path:
    """Puts a file's packets into another container."""
    return write_packets(path, source, packets_of(source))


_VOP = b"\0\0\1\xb6"  # where an MPEG-4 picture begins; the next two bits are its kind
_INTRA, _BIDIRECTIONAL = 0, 2
_NOT_CODED = _VOP + bytes((0b01010000, 0b01001111))  # "as before"
_PACKED_MARK = b"\0\0\1\xb2DivX503b1393p"
_OTHER_ENCODER = b"\0\0\1\xb2XviD0069"  # FFmpeg decodes what follows with the roundings of that
_GROUP = b"\0\0\1\xb3" + bytes((0, 0x10, 0x07)) + b"\0\0\1\xb2" + b"padding" * 4


def _packed_b_frames(path: Path, b_frames: int) -> None:
    """As XviD packs them: the first B-frame in the packet of its reference, an empty picture behind the last one."""
    stored: list[tuple[bytes, bool]] = []
    for picture in _encode("mpeg4", b_frames):
        kind = picture.data[picture.data.index(_VOP) + 4] >> 6
        if kind != _BIDIRECTIONAL:
            mark = _PACKED_MARK if kind == _INTRA else b""
            stored.append((picture.data.replace(_VOP, mark + _VOP, 1), kind == _INTRA))
        elif stored[-1][0] == _NOT_CODED:
            stored[-1:] = [(picture.data, False), (_NOT_CODED, False)]
        else:
            reference, is_key = stored.pop()
            stored += [(reference + picture.data, is_key), (_NOT_CODED, False)]
    _store_in_sequence(path, "mpeg4", stored)


def _not_coded(path: Path) -> None:
    pictures = [(picture.data, picture.is_key) for picture in _encode("mpeg4")]
    pictures.insert(7, (_NOT_CODED, False))
    pictures.insert(20, (_GROUP + _NOT_CODED, False))
    _store_in_sequence(path, "mpeg4", pictures)


def _change_of_encoder(path: Path) -> None:
    pictures = [(picture.data, picture.is_key) for picture in _encode("mpeg4")]
    pictures.insert(7, (_OTHER_ENCODER + _NOT_CODED, False))
    _store_in_sequence(path, "mpeg4", pictures)


def _late_b_frames(path: Path) -> None:
    pictures = _encode("libx264")[:24] + _encode("libx264", b_frames=3)[:16]
    _store_in_sequence(path, "libx264", [(picture.data, picture.is_key) for picture in pictures])


def _false_key_frames(codec: str) -> Callable[[Path], None]:
    return lambda path: _store(path, codec, [replace(picture, is_key=True) for picture in _encode(codec)])


def _repeated_times(path: Path) -> None:
    pictures = _encode("libx264")
    _store(path, "libx264", [Stored(p.data, n // 2, n // 2, p.is_key) for n, p in enumerate(pictures)])


def _without_beginning(path: Path) -> None:
    _store(path, "mpeg2video", _encode("mpeg2video", b_frames=2)[5:])


def _uneven_times(path: Path) -> None:
    write_video(path, b_frames=3, times=np.cumsum(np.random.default_rng(0).integers(10, 90, FRAMES)).tolist())


def shift(path: Path, by: int) -> None:
    """Shows all frames some frames later or earlier; what would come before time 0 is cut off by an edit list."""
    source = write_video(path.with_name(f"unshifted_{path.name}"), frames=FRAMES, b_frames=3)
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(source)) as reader, av.open(str(path), "w", options=options) as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts = packet.pts + by * 512, packet.dts + by * 512
                packet.stream = stream
                writer.mux(packet)


# ------------------------------------------------------------------------------------------ files of several streams


def write_streams(path: Path, *, cover: bool = False, videos: tuple[int, ...] = (1,), sound: bool = False) -> None:
    """Streams in this order: sound, cover picture, moving textures (each so many times the usual size)."""
    with av.open(str(path), "w") as container:
        listened = container.add_stream("aac", rate=8000, layout="mono") if sound else None
        pictures = {}
        for size in ((0,) if cover else ()) + videos:
            stream = container.add_stream("libx264" if size else "mjpeg", rate=25)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height = WIDTH * max(1, size), HEIGHT * max(1, size)
            stream.pix_fmt, stream.gop_size = "yuv420p" if size else "yuvj420p", 12
            if not size:
                stream.disposition = Disposition.attached_pic
            pictures[stream] = list(moving_texture(FRAMES if size else 1, stream.height, stream.width))
        for number in range(FRAMES):
            for stream, frames in pictures.items():
                for picture in frames[number : number + 1]:
                    image = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                    container.mux(stream.encode(image))
            if listened:
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.float32), format="fltp", layout="mono")
                silence.rate, silence.pts = 8000, 320 * number
                container.mux(listened.encode(silence))
        for stream in pictures:
            container.mux(stream.encode())
        if listened:
            container.mux(listened.encode())


_AV1: dict[str, Any] = {"codec": "libsvtav1", "b_frames": 0, "width": 128, "height": 96, "options": {"preset": "10"}}
_OPEN_GOP = _x264("open-gop=1:keyint=12:scenecut=0")

KINDS: dict[str, Kind] = {
    "h264_b_frames.mp4": _plain("H.264, B-frames", b_frames=3),
    "h264_b_frames.mkv": _plain("the same in Matroska", b_frames=3),
    "h264_b_frames.flv": _plain("the same in Flash", b_frames=3),
    "h264_no_container_index.ts": _plain("the same in a transport stream", b_frames=3),
    "h264_no_b_frames.mp4": _plain("H.264, stored in display order", b_frames=0),
    "h264_references.mp4": _plain("H.264, 8 references, 7 B-frames in a pyramid", **_x264("ref=8:bframes=7:b-adapt=0")),
    "h264_open_gop.mp4": _plain("H.264, frames that refer across key frames", **_OPEN_GOP),
    "h264_open_gop.mkv": _plain("the same in Matroska", **_OPEN_GOP),
    "h264_open_gop.avi": _plain("the same in avi: times are not those of display", "start", **_OPEN_GOP),
    "h264_late_b_frames.avi": Kind("the same: B-frames from the third key frame on", _late_b_frames, "start"),
    "h264_no_times.h264": _plain("H.264 without a container: no times at all", "start", b_frames=3),
    "h264_one_key_frame.mp4": _plain("H.264, one key frame", gop=1000),
    "h264_intra_refresh.mp4": _plain(
        "H.264, key frames that are complete only later", "either", options={"x264-params": "intra-refresh=1:keyint=12"}
    ),
    "h264_interlaced.mp4": _plain("H.264, interlaced", "start", options={"x264-params": "tff=1"}),
    "h264_fragmented.mp4": _plain("H.264, fragmented mp4", container_options={"movflags": "frag_keyframe+empty_moov"}),
    "h264_10_bit.mp4": _plain("H.264, 10 bits", pix_fmt="yuv420p10le"),
    "h264_odd_size.mp4": _plain("H.264, 61x47", width=61, height=47, pix_fmt="yuv444p"),
    "h264_single_frame.mp4": Kind("a single frame", partial(write_video, frames=1)),
    "hevc.mp4": _plain("HEVC, open GOPs", **_x265("keyint=12:scenecut=0:bframes=4")),
    "hevc.ts": _plain("the same in a transport stream", **_x265("keyint=12:scenecut=0:bframes=4")),
    "hevc_10_bit.mkv": _plain("HEVC, 10 bits, Matroska", pix_fmt="yuv420p10le", **_x265("keyint=12")),
    "hevc_temporal_layers.mp4": _plain("HEVC, three temporal layers", **_x265("temporal-layers=3:b-adapt=0:bframes=7")),
    "mpeg4.avi": _plain("MPEG-4 part 2 (Xvid, DivX)", codec="mpeg4", b_frames=0),
    "mpeg4_b_frames.mp4": _plain("MPEG-4 part 2, B-frames", codec="mpeg4"),
    "mpeg4_packed_b_frames.avi": Kind("MPEG-4 part 2, two pictures in a packet", partial(_packed_b_frames, b_frames=1)),
    "mpeg4_packed_in_pairs.avi": Kind("the same, two B-frames in a row", partial(_packed_b_frames, b_frames=2)),
    "mpeg4_not_coded.avi": Kind("MPEG-4 part 2, packets without a picture", _not_coded),
    "mpeg4_not_coded.mp4": Kind("the same in mp4", _not_coded),
    "mpeg4_change_of_encoder.avi": Kind("MPEG-4 part 2, another encoder named midway", _change_of_encoder, "start"),
    "divx3.avi": _plain("MPEG-4 version 3 (DivX 3)", codec="msmpeg4", b_frames=0),
    "wmv1.wmv": _plain("Windows Media 7", codec="wmv1", b_frames=0),
    "wmv2.wmv": _plain("Windows Media 8", codec="wmv2", b_frames=0),
    "mpeg1.mpg": _plain("MPEG-1", "start", codec="mpeg1video"),
    "mpeg2.mpg": _plain("MPEG-2, program stream: times differ after a seek", "start", codec="mpeg2video"),
    "mpeg2.ts": _plain("MPEG-2, transport stream", codec="mpeg2video"),
    "mpeg2_without_beginning.mkv": Kind("MPEG-2, first frames lack their references", _without_beginning, "start"),
    "vp8_hidden_frames.webm": _plain("VP8, frames that are never shown", **_vpx("libvpx")),
    "vp9_hidden_frames.webm": _plain("VP9, frames that are never shown", **_vpx("libvpx-vp9")),
    "vp9_odd_size.webm": _plain("VP9, 61x47", width=61, height=47, **_vpx("libvpx-vp9")),
    "av1.mp4": _plain("AV1", **_AV1),
    "av1_10_bit.webm": _plain("AV1, 10 bits, WebM", pix_fmt="yuv420p10le", **_AV1),
    "mjpeg.avi": _plain("Motion JPEG", codec="mjpeg", pix_fmt="yuvj420p", b_frames=0),
    "gif.gif": _plain("GIF: frames change the one before", "start", codec="gif", pix_fmt="rgb8", b_frames=0),
    "ffv1.mkv": _plain("FFV1", "start", codec="ffv1", b_frames=0),
    "uneven_times.mp4": Kind("variable frame rate", _uneven_times),
    "uneven_times.mkv": Kind("variable frame rate, Matroska", _uneven_times),
    "late_start.mp4": Kind("first frame at 0.2 s", partial(shift, by=5)),
    "cut_by_edit_list.mp4": Kind("first five frames cut off by an edit list", partial(shift, by=-5)),
    "repeated_times.flv": Kind("every time given to two frames", _repeated_times, "start"),
    "false_key_frames_mpeg4.mp4": Kind("MPEG-4 part 2, all called key frames", _false_key_frames("mpeg4"), "either"),
    "false_key_frames_vp9.nut": Kind("VP9, all called key frames", _false_key_frames("libvpx-vp9"), "either"),
    "false_key_frames_hevc.mp4": Kind(
        "HEVC with B-frames, all called key frames", _false_key_frames("libx265"), "start"
    ),
    "sound.mp4": Kind("sound before the video", partial(write_streams, sound=True)),
    "two_videos.mkv": Kind("a second, larger video", partial(write_streams, videos=(1, 2), sound=True)),
    "cover_picture.mp4": Kind("a cover picture", partial(write_streams, cover=True)),
}
