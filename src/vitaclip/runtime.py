"""Where to compute, and in which precision."""

import ctypes
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vitaclip.settings import Config, require


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig(Config):
    """Where and how precisely to compute."""

    device: str = "auto"
    """`auto` takes CUDA, then MPS, then the CPU; or name one, such as cuda:1."""
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    """bfloat16 runs the towers under autocast. `auto` takes it where the hardware is fast at it. int8, to test on a CPU
    that has instructions for it, computes linear layers of the towers' blocks in whole numbers, the rest as `auto`."""
    compile: bool = False
    """Compile the image tower with torch.compile: code is made at the first step, and at the first of each new shape,
    which are slow. Results differ by rounding. Needs a C++ compiler on a CPU."""
    checkpoint_activations: bool = False
    """Training keeps only what goes into each block of the image tower and computes the rest again on the way back:
    the same numbers in a fraction of the memory, for up to half as much time again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            not (self.compile and self.precision == "int8"), self, "compile", "int8 is not compiled; set one of both"
        )


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of glibc's `mallopt`: free bytes from which the heap shrinks (-1: never), and how many blocks may lie outside it."""


def pick_device(name: str, local_rank: int = 0, world_size: int = 1) -> torch.device:
    """The device of that name; `auto` takes CUDA, then MPS, then the CPU.

    Of several processes on a machine each takes a CUDA device of its own, or all share the CPU.

    Raises:
        ValueError: if there is no such device, none left for this process, or the name is that of a single one.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    if world_size > 1:
        return _pick_own_device(name, local_rank)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used ({reason}); try 'auto' or 'cpu'") from error
    return device


def _pick_own_device(name: str, local_rank: int) -> torch.device:
    count = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and count == 0):
        return torch.device("cpu")
    if name not in ("auto", "cuda"):
        raise ValueError(f"device {name!r}: each of several processes takes its own; set runtime.device = cuda or cpu")
    if local_rank >= count:
        raise ValueError(f"this machine has {count} CUDA devices; start at most as many processes on it, or use cpu")
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def keep_freed_memory() -> None:
    """Have the C library keep what this process frees for what it asks for next.

    Left alone, glibc gives every large tensor back to the system, and each new one is faulted in page by page: on a CPU
    the element-wise operations of a step take several times as long. With another C library nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device. What goes to a GPU is laid in page-locked memory first, whose copy is three times as
    fast and does not wait for what the GPU computes.

    >>> send(torch.ones(2), torch.device("cpu"))
    tensor([1., 1.])
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@dataclass(frozen=True)
class Computed:
    """What results were computed with; another device or precision gives other digits."""

    device: str = ""
    """Such as `cpu`, or `cuda (NVIDIA H100 80GB HBM3)`."""
    precision: str = ""
    """`float32`, `bfloat16` or `int8`."""

    def __str__(self) -> str:
        return f"{self.device}, {self.precision}"


def describe_computed(config: RuntimeConfig, device: torch.device) -> Computed:
    """The device and the precision that are used, whatever `auto` stands for."""
    model = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return Computed(f"{device.type}{model}", pick_precision(config, device))


def pick_precision(config: RuntimeConfig, device: torch.device) -> str:
    """int8, bfloat16 or float32; `auto` takes bfloat16 where the hardware multiplies its matrices faster."""
    if config.precision == "int8" and not has_int8(device):
        raise ValueError(
            "runtime.precision = int8 needs a CPU with VNNI; set runtime.device = cpu or another precision"
        )
    return _pick_float(device) if config.precision == "auto" else config.precision


def has_int8(device: torch.device) -> bool:
    """Whether the device multiplies whole numbers of 8 bits by instructions for that, without saturated sums."""
    known = torch.cpu.get_capabilities() if device.type == "cpu" and torch.backends.mkldnn.is_available() else {}
    return bool(known.get("avx512_vnni") or known.get("avx_vnni"))


def _pick_float(device: torch.device) -> str:
    fast = False
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        fast = bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return "bfloat16" if fast else "float32"


def autocast(config: RuntimeConfig, device: torch.device) -> AbstractContextManager[object]:
    """The context that the towers run in: bfloat16 autocast, or nothing for float32. What int8 leaves is as `auto`."""
    precision = pick_precision(config, device)
    wanted = (_pick_float(device) if precision == "int8" else precision) == "bfloat16"
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else nullcontext()
