"""The next seconds of a stream or a camera as a video; or its frames as they come, and those of a file that grows. Only
what a user names on the command line or in Python gets here: an address in a list file is a path that does not exist.
"""

import io
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Literal

import av
import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame
from torch import Tensor

from vitaclip.data.config import PixelAspect, VideoLimits
from vitaclip.data.reading.container import VideoError, codec_options, open_in_ffmpeg, read_packets
from vitaclip.data.reading.decode import Video
from vitaclip.data.reading.path import GivenVideo

_ADDRESS = re.compile(r"(?:rtsps?|rtmps?|srt|udp|tcp)://.+", re.IGNORECASE)
_CAMERA = re.compile(r"(?:camera:)?([0-9]{1,3})")
_PROTOCOLS = "rtsp,rtsps,rtp,srtp,rtmp,rtmps,srt,udp,tcp,tls"
_FORMATS = "rtsp,rtp,mpegts,flv,live_flv"
"""FFmpeg's names of what may be received. None of them opens files."""
_CAMERAS = {"darwin": ("avfoundation", "{}"), "win32": ("vfwcap", "{}")}
_V4L2 = ("video4linux2", "/dev/video{}")
_SECONDS_OF_SILENCE = 10.0
_POLL_S = 0.2


@dataclass(frozen=True)
class LiveVideo(GivenVideo):
    """The next seconds of an address or camera, its name, which the process that opens it records as they come."""

    seconds: float = 10.0
    """How long it is recorded."""

    @property
    def absence(self) -> str:
        return "is no camera that answers ({}): check its number" if _CAMERA.fullmatch(self.name) else super().absence

    def open(self, mode: Literal["rb"] = "rb") -> IO[bytes]:
        """Record it, as it is coded, into a temporary file without a name.

        Raises:
            OSError: nothing answers, or nothing comes for ten seconds.
        """
        with ExitStack() as opened:
            file = opened.enter_context(tempfile.TemporaryFile())
            with self._open_stream({}) as source:
                self._record(source, file)
            file.seek(0)
            opened.pop_all()
            return file

    @contextmanager
    def connect(self, limits: VideoLimits, pixel_aspect: PixelAspect) -> Iterator["Connection"]:
        """Receive its frames while the block lasts.

        Raises:
            VideoError: nothing answers.
        """
        with ExitStack() as opened:
            try:
                source = opened.enter_context(self._open_stream(codec_options(limits)))
            except (av.error.FFmpegError, OSError) as error:
                raise VideoError(f"{self} {self.absence.format(error.strerror or type(error).__name__)}") from error
            yield Connection(self, source, limits, pixel_aspect)

    def _open_stream(self, decoding: dict[str, str]) -> InputContainer:
        form, place, options = None, self.name, {"protocol_whitelist": _PROTOCOLS, "format_whitelist": _FORMATS}
        if camera := _CAMERA.fullmatch(self.name):
            form, place = _CAMERAS.get(sys.platform, _V4L2)
            place, options = place.format(camera[1]), {}
        limits, options = (_SECONDS_OF_SILENCE, _SECONDS_OF_SILENCE), options | {"rtsp_transport": "tcp"}
        try:
            return av.open(place, "r", form, options=decoding, container_options=options, timeout=limits)
        except av.error.ExitError as error:
            raise OSError(None, f"nothing came for {_SECONDS_OF_SILENCE:g} seconds") from error
        except av.error.ProtocolNotFoundError as error:
            raise OSError(None, f"this build of PyAV lacks {place.partition(':')[0]}") from error
        except ValueError as error:  # a build of FFmpeg without this kind of camera
            raise OSError(None, f"this build of PyAV lacks {form}; give the camera's stream instead") from error

    def _record(self, source: InputContainer, file: IO[bytes]) -> None:
        if not source.streams.video:
            raise OSError(None, "no pictures come from it")
        with av.open(file, "w", "nut") as recording:
            stream = source.streams.video[0]
            copy, start = recording.add_stream_from_template(stream), None
            for packet in source.demux(stream):
                if packet.dts is None or (start is None and not packet.is_keyframe):
                    continue  # nothing can be decoded before the first key frame
                start = packet.dts if start is None else start
                if (packet.dts - start) * (stream.time_base or 0) >= self.seconds:
                    return
                packet.stream = copy
                recording.mux(packet)


@dataclass(frozen=True)
class GrowingVideo(LiveVideo):
    """A file that somebody still writes; it ends when nothing has come for ten seconds."""

    @property
    def absence(self) -> str:
        return "cannot be read while it grows ({}): record fragmented mp4, mkv or ts, or wait until it is whole"

    def _open_stream(self, decoding: dict[str, str]) -> InputContainer:
        return open_in_ffmpeg(_GrowingFile(self.name), decoding)


class _GrowingFile(io.FileIO):
    """A file whose end waits for more, and in which nobody can seek."""

    def seekable(self) -> bool:
        return False

    def read(self, size: int | None = -1) -> bytes:
        """What there is, or comes within ten seconds."""
        deadline = time.monotonic() + _SECONDS_OF_SILENCE
        while not (piece := super().read(size)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return piece or b""


class Connection(Video):
    """The frames of an open stream as they come."""

    def __init__(
        self, video: GivenVideo, source: InputContainer, limits: VideoLimits, pixel_aspect: PixelAspect
    ) -> None:
        self._source = source
        self._prepare(video, source, limits, pixel_aspect)
        self.waits_for_key = False
        """Set to pass over what comes before the next key frame without decoding it."""

    def __iter__(self) -> Iterator[tuple[float | None, Callable[[], Tensor]]]:
        """Of each frame the seconds by the stream's clock, if it says, and what gives its pixels."""
        first = True
        for packet in read_packets(self._source, self._stream):
            self.waits_for_key &= not packet.is_keyframe
            frames = list[VideoFrame]()
            with suppress(av.error.InvalidDataError):  # a damaged packet
                frames = [] if self.waits_for_key else packet.decode()
            for frame in frames:
                if first:
                    self._stated_size = self._first_size = frame.width, frame.height
                    first = False
                yield frame.time, partial(self._convert, frame)


def is_live(text: str) -> bool:
    """Whether a text that a user gave names a stream (`rtsp://...`) or a camera (`0`, `camera:0`), and no file.

    >>> is_live("rtsp://door.local/1"), is_live("camera:0"), is_live("clip.mp4")
    (True, True, False)
    """
    return bool(_ADDRESS.fullmatch(text) or _CAMERA.fullmatch(text)) and not Path(text).exists()
