"""A benchmark's runs in processes of their own, which give all their memory back when they end."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_OUT_OF_MEMORY = 99
"""Exit status."""


def run_apart(*arguments: str) -> str | None:
    """What this program prints with more arguments, in a process of its own; None: it ran out of memory.

    Its errors go where ours go.

    Raises:
        subprocess.CalledProcessError: if it fails otherwise.
    """
    run = subprocess.run([sys.executable, *sys.argv, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode in (_OUT_OF_MEMORY, -signal.SIGKILL):  # a system short of memory kills
        return None
    run.check_returncode()
    return run.stdout


@contextmanager
def memory_may_run_out() -> Iterator[None]:
    """Around what the process of its own does."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error):
            sys.exit(_OUT_OF_MEMORY)
        raise
