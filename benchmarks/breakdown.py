"""Where the time of a run goes, by kind of operation, and what the device can do."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import timing
import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile

KINDS = (
    ("matrix products", ("mm", "gemm", "linear", "conv", "cutlass", "nvjet", "xmma")),
    ("attention", ("attention", "flash", "fmha")),
    ("copies and casts", ("copy", "cat", "memcpy", "memset", "_to_copy", "contiguous", "clone")),
    ("norms", ("norm",)),
    ("activation", ("silu", "sigmoid", "gelu")),
    ("optimiser", ("foreach", "adam", "multi_tensor")),
)
"""What an operation is, by the first of these words found in its name."""
_ORDER = ("attention", "norms", "activation", "optimiser", "matrix products", "copies and casts")


def kind_of(name: str) -> str:
    """The kind of an operation or kernel; `other` if no word fits."""
    words = dict(KINDS)
    return next((kind for kind in _ORDER if any(word in name.lower() for word in words[kind])), "other")


def matrix_rate(device: torch.device, *, small: bool = False) -> float:
    """Operations a second in bfloat16 products of large square matrices: the best of several."""
    side = 256 if small else (8192 if device.type == "cuda" else 2048)
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        _wait(device)
        started = time.perf_counter()
        left @ right
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def print_kinds(title: str, run: Callable[[], object], device: torch.device, *, compiled: bool = False) -> None:
    """Time of a run by kind of operation, from torch's profiler: of a second run, or of the first if that is long and
    compiled nothing."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    for _ in range(2):
        started = time.perf_counter()
        with profile(activities=activities) as profiler:
            run()
        if time.perf_counter() - started > timing.LONG_SECONDS and not compiled:
            break
    spent = spent_by_kind(profiler.key_averages(), on_gpu=on_gpu)
    total = sum(spent.values())
    print(f"\n| {title}: time on the {'card' if on_gpu else 'CPU'} | ms | share |\n|---|---:|---:|")
    for kind, microseconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"| {kind} | {microseconds / 1000:.0f} | {microseconds / total:.0%} |")


def spent_by_kind(events: Iterable[FunctionEventAvg], *, on_gpu: bool) -> dict[str, float]:
    """Microseconds by kind. Of a GPU its kernels alone: the operations that launched them report their time again."""
    spent: dict[str, float] = defaultdict(float)
    for event in events:
        if not on_gpu:
            spent[kind_of(str(event.key))] += event.self_cpu_time_total
        elif event.device_type == DeviceType.CUDA and not event.is_user_annotation:
            spent[kind_of(str(event.key))] += event.self_device_time_total
    return spent


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
