"""Tasks that misbehave; in a module of their own, because other processes import them."""

import ctypes
import faulthandler
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitaclip.data import TrainClips, VideoError, VideoPath, open_source
from vitaclip.data.config import VideoLimits
from vitaclip.data.tools.scan import VideoFacts, check_video
from vitaclip.data.workers.worker import Heartbeat


def misbehave(how: str) -> str:
    """Hang, die or raise, as told; else answer."""
    if how == "hang":
        for number in (signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        ctypes.PyDLL(None).sleep(3600)  # as a codec that never comes back: no other thread of Python runs either
    elif how == "segfault":
        faulthandler.disable()  # pytest's would print where
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "exit":
        os._exit(3)
    elif how == "refuse":
        raise VideoError("not this one")
    elif how == "raise":
        raise KeyError("two\nlines")
    return how.upper()


def take(size: int) -> int:
    """Takes so many bytes."""
    return len(np.empty(size, dtype=np.uint8))


def nap(item: int, heartbeat: Heartbeat) -> str:
    """Says what it is at."""
    with heartbeat.at(item):
        for _ in range(20):  # a single sleep would be over at once after a stop
            time.sleep(0.01)
    return "slept"


def hang(item: int, heartbeat: Heartbeat) -> str:
    """Says what it is at."""
    with heartbeat.at(item):
        return misbehave("hang")


def check_or_misbehave(path: VideoPath, limits: VideoLimits) -> VideoFacts:
    """`check_video`, but a file whose name says so hangs or kills the process."""
    misbehave(Path(str(path)).stem)
    return check_video(path, limits)


def open_or_misbehave(path: VideoPath, *arguments: Any) -> Any:
    """`open_source`, but a file whose name says so hangs or kills the process."""
    misbehave(Path(str(path)).stem)
    return open_source(path, *arguments)


def open_slowly(path: VideoPath, *arguments: Any) -> Any:
    """`open_source`, after a fifth of a second."""
    time.sleep(0.2)
    return open_source(path, *arguments)


def send_and_die(item: int, heartbeat: Heartbeat) -> object:
    """Large and small tensors; the item after them is the last. Here, where a started process can import it."""
    del heartbeat
    if item == 2:
        os._exit(1)
    return {"large": torch.full((300, 100), item), "small": torch.tensor([item]), "none": torch.empty(0, 3)}


class MisbehavingClips(TrainClips):
    """Of which a file whose name says so hangs or kills the process."""

    def read(self, path: VideoPath, rng: np.random.Generator) -> Tensor:
        """A clip, or not."""
        misbehave(Path(str(path)).stem)
        return super().read(path, rng)
