"""How many clips go through the model at a time, by trying: the number is doubled as long as it fits into the memory
that is free and saves time. Few at a time leave a GPU idle; on a CPU two are about as fast as any number.
"""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from vitaclip.training.memory import limited, peak_growth

HEADROOM = 0.8
"""Part of the free memory that is taken at most: workers read ahead, and other programs want some too."""
PAYS = 0.95
"""More clips at a time are worth their memory if each then takes at most this part of its time."""


class MicroBatch(NamedTuple):
    """So many clips at a time, and what was measured of them."""

    clips: int = 1
    recompute: bool = True
    """Whether the image tower's activations are computed again on the way back."""
    seconds: float = math.inf
    """Of a clip, forward and back: on a CPU those of the process, which other programs disturb least."""
    peak: int = 0
    """Most bytes, over what there is before."""


def measure(
    device: torch.device, free: int, clips: int, recompute: bool, run: Callable[[], object]
) -> MicroBatch | None:
    """What `run`, which takes so many clips forward and back, takes; None: more than there is."""
    seconds, on_gpu = math.inf, device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time

    def timed() -> None:
        nonlocal seconds
        for _ in range(1 + on_gpu):  # the first time on a card chooses its kernels
            started = clock()
            run()
            if on_gpu:
                torch.cuda.synchronize(device)
            seconds = clock() - started

    try:
        with limited(device, free):
            peak = peak_growth(device, timed)
    except (MemoryError, RuntimeError):  # any other error comes again in the step itself
        return None
    return MicroBatch(clips, recompute, seconds / clips, peak) if peak <= HEADROOM * free else None


def fit(
    attempt: Callable[[int, bool], MicroBatch | None], most: int, recompute: bool = False
) -> tuple[MicroBatch, str]:
    """The best number of clips, at most `most`, and why it is not more. `attempt(clips, recompute)` measures one.

    Activations are computed again, unless asked for, only where without that one clip does not fit, or where a larger
    number then fits and saves more time than that costs.
    """
    best, why = None, ""
    for again in (True,) if recompute else (False, True):
        clips = min(2 * best.clips, most) if best else 1
        while found := attempt(clips, again):
            if best and found.seconds > PAYS * best.seconds:
                return best, f"{clips} are no faster"
            best = found
            if clips == most:
                return best, "these are all"
            clips = min(2 * clips, most)
        why = f"{clips} do not fit"
    return best or MicroBatch(), why
