"""The memory of a device: what is free of it, and the most that is taken. On a CPU it is that of this process, of which
Linux alone lets a peak be counted anew.
"""

import ctypes
import gc
import os
import re
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_ROOT = Path("/")


def reset_peak(device: torch.device) -> None:
    """Let the peak count from now on, where the system can; otherwise a process that trains several models would say of
    each the most that any of them took."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif os.access("/proc/self/clear_refs", os.W_OK):  # Linux
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """Peak memory of this process: of its tensors on a CUDA device, else of all it holds."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":  # what getrusage says of a program counts what started it too
        return _bytes("self/status", "VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peak_growth(device: torch.device, run: Callable[[], object]) -> int:
    """Most bytes while it runs, over those at its beginning; on Linux or a CUDA device."""
    _release(device)
    reset_peak(device)
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else _bytes("self/status", "VmRSS")
    run()
    return peak_bytes(device) - before


def free_bytes(device: torch.device) -> int:
    """What this process may still take: on a CPU, of the machine and of the control groups (containers) around it."""
    _release(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([_bytes("meminfo", "MemAvailable"), *_left_in_groups()])


@contextmanager
def limited(device: torch.device, extra: int) -> Iterator[None]:
    """Refuse this process, on a CPU, more than so many further bytes: Python then raises an error, where the system
    would kill it."""
    earlier, most = resource.getrlimit(resource.RLIMIT_DATA)
    if device.type == "cpu":
        # The limit also counts what is reserved and not touched yet, which tensors will take before anything else.
        reserved, taken = (_bytes("self/status", field) for field in ("VmData", "RssAnon"))
        resource.setrlimit(resource.RLIMIT_DATA, (max(reserved, taken + extra), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (earlier, most))


def _left_in_groups() -> Iterator[int]:
    """Of each group (cgroup v2) with a limit; what it holds of files gives way, and is not counted as taken."""
    (path,) = re.findall(r"^0::/(.*)$", (_ROOT / "proc/self/cgroup").read_text(), re.MULTILINE) or [""]
    own = _ROOT / "sys/fs/cgroup" / path
    for folder in (own, *own.parents):
        if (folder / "memory.max").is_file() and (most := (folder / "memory.max").read_text().strip()) != "max":
            files = re.findall(r"^inactive_file (\d+)", (folder / "memory.stat").read_text(), re.MULTILINE)[0]
            yield int(most) - int((folder / "memory.current").read_text()) + int(files)


def _release(device: torch.device) -> None:
    """Give memory that nothing uses back to the system, so that what is taken next is counted."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        ctypes.CDLL(None).malloc_trim(0)


def _bytes(file: str, field: str) -> int:
    """A field, in kB, of a file of /proc."""
    return 1024 * int(re.findall(rf"^{field}:\s+(\d+) kB$", Path("/proc", file).read_text(), re.MULTILINE)[0])
