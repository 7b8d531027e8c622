"""Tasks that misbehave; in a module of their own, because other processes import them."""

import os
import signal
import time
from pathlib import Path

from vitaclip.data import VideoError, VideoPath
from vitaclip.data.scan import VideoFacts, check_video


def misbehave(how: str) -> str:
    """Hang, die or raise, as told; else answer."""
    if how == "hang":
        for number in (signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(3600)
    elif how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "exit":
        os._exit(3)
    elif how == "refuse":
        raise VideoError("not this one")
    elif how == "raise":
        raise KeyError("two\nlines")
    return how.upper()


def check_or_misbehave(path: VideoPath) -> VideoFacts:
    """`check_video`, but a file whose name says so hangs or kills the process."""
    misbehave(Path(str(path)).stem)
    return check_video(path)
