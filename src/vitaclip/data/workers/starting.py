"""How processes are started: from a server, a clean process that has imported what they need and runs no thread.

Not by a fork of this one, whose threads (progress bars, torch, CUDA, NCCL) would leave locks behind that nobody opens.
"""

import multiprocessing
from multiprocessing.forkserver import ensure_running
from typing import Any

from vitaclip.config import DataConfig

_PRELOADED = ["vitaclip.data.workers.server", "vitaclip.data"]
"""What the server imports, in this order, so that a process starts in milliseconds. By name: it is above this room."""


def process_context() -> Any:
    """Of multiprocessing: what decides how processes start; where there is no server, as interpreters of their own.

    Each imports the program that asks for it, so a script needs `if __name__ == "__main__":` around what it does.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def expect_processes(data: DataConfig) -> None:
    """Has the server start while the caller does something else, if processes are to read videos: it takes seconds.

    Without, the first process waits for it, as it does where features are kept, of which none may be missing.
    """
    if data.workers and not data.feature_cache and process_context().get_start_method() == "forkserver":
        ensure_running()
