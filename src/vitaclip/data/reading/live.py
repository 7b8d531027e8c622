"""The next seconds of a stream or a camera, as a video. Only what a user names on the command line or in Python gets
here: an address in a list file is a path that does not exist."""

import re
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import av
import av.error

from vitaclip.data.reading.path import GivenVideo

_ADDRESS = re.compile(r"(?:rtsps?|rtmps?|srt|udp|tcp)://.+", re.IGNORECASE)
_CAMERA = re.compile(r"(?:camera:)?([0-9]{1,3})")
_PROTOCOLS = "rtsp,rtsps,rtp,srtp,rtmp,rtmps,srt,udp,tcp,tls"
_FORMATS = "rtsp,rtp,mpegts,flv,live_flv"
"""FFmpeg's names of what may be received. None of them opens files."""
_CAMERAS = {"darwin": ("avfoundation", "{}"), "win32": ("vfwcap", "{}")}
_V4L2 = ("video4linux2", "/dev/video{}")
_SECONDS_OF_SILENCE = 10.0


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
        form, place, options = None, self.name, {"protocol_whitelist": _PROTOCOLS, "format_whitelist": _FORMATS}
        if camera := _CAMERA.fullmatch(self.name):
            form, place = _CAMERAS.get(sys.platform, _V4L2)
            place, options = place.format(camera[1]), {}
        with ExitStack() as opened:
            file = opened.enter_context(tempfile.TemporaryFile())
            limits, options = (_SECONDS_OF_SILENCE, _SECONDS_OF_SILENCE), options | {"rtsp_transport": "tcp"}
            try:
                with av.open(place, "r", form, container_options=options, timeout=limits) as source:
                    self._record(source, file)
            except ValueError as error:  # a build of FFmpeg without this kind of camera
                raise OSError(None, f"this build of PyAV lacks {form}; give the camera's stream instead") from error
            file.seek(0)
            opened.pop_all()
            return file

    def _record(self, source: av.container.InputContainer, file: IO[bytes]) -> None:
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


def is_live(text: str) -> bool:
    """Whether a text that a user gave names a stream (`rtsp://...`) or a camera (`0`, `camera:0`), and no file.

    >>> is_live("rtsp://door.local/1"), is_live("camera:0"), is_live("clip.mp4")
    (True, True, False)
    """
    return bool(_ADDRESS.fullmatch(text) or _CAMERA.fullmatch(text)) and not Path(text).exists()
