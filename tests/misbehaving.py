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

from vitaclip.data.loading.clips import TrainClips
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.decode import open_video
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.workers import reading


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


def read_two(second: str) -> str:
    """Reads item 7 without harm, then item 8."""
    with reading(7, "seventh"):
        time.sleep(0.4)
    with reading(8, "eighth"):
        return nap() if second == "nap" else misbehave(second)


def nap(*_: object) -> str:
    """Takes a fifth of a second; a single sleep would be over at once after a stop."""
    for _number in range(20):
        time.sleep(0.01)
    return "slept"


def open_or_misbehave(path: VideoPath, *arguments: Any, **options: Any) -> Any:
    """`open_video`, but a file whose name says so hangs or kills the process."""
    misbehave(Path(str(path)).stem)
    return open_video(path, *arguments, **options)


def open_slowly(path: VideoPath, *arguments: Any) -> Any:
    """`open_video`, after a fifth of a second."""
    nap()
    return open_video(path, *arguments)


def tensors_or_die(item: int) -> object:
    """Large and small tensors; no answer to item 2."""
    if item == 2:
        os._exit(1)
    return {"large": torch.full((300, 100), item), "small": torch.tensor([item]), "none": torch.empty(0, 3)}


class MisbehavingClips(TrainClips):
    """Of which a file whose name says so hangs or kills the process."""

    def read(self, path: VideoPath, rng: np.random.Generator) -> Tensor:
        """A clip, or not."""
        misbehave(Path(str(path)).stem)
        return super().read(path, rng)
