"""Peak memory of something, over what was there before it."""

import gc
from collections.abc import Callable
from pathlib import Path

import torch


def extra_peak_bytes(device: torch.device, run: Callable[[], object]) -> int:
    """Most memory while it runs, over that at its beginning: on a CUDA device its tensors there, else of the process.

    Linux alone lets a process reset its peak. What its allocator keeps from earlier work is not counted again, so on a
    CPU each measurement wants a process of its own.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew from what is resident
    before = _status_bytes("VmRSS")
    run()
    return _status_bytes("VmHWM") - before


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
