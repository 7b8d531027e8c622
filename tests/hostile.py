"""Reads hostile files, each in a process of its own with a memory limit, and tells how it ended.

python hostile.py JOBS.json     [[name, kind, path], ...] -> {name: [error type, message, peak MB, seconds]}
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitaclip.backbones.loading import load_backbone
from vitaclip.evaluation.decision import Calibration
from vitaclip.model import VideoModel
from vitaclip.untrusted import read_yaml

MEMORY_MB = 700
SECONDS = 20
READERS: dict[str, Callable[[Path], Any]] = {
    "clip": lambda path: load_backbone(path, activation="quick_gelu"),
    "model": VideoModel.from_pretrained,
    "yaml": read_yaml,
    "calibration": Calibration.read,
}


def read(kind: str, path: Path) -> tuple[str, str]:
    """Type and message of what is raised; if nothing is, an empty text and the fingerprint of the weights."""
    try:
        return "", getattr(READERS[kind](path), "fingerprint", "")
    except Exception as error:
        return type(error).__name__, str(error)


def apart(kind: str, path: Path) -> list[Any]:
    """The outcome in a child process; a killed one has the name of the signal."""
    ours, theirs = os.pipe()
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY_MB * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        with os.fdopen(theirs, "w") as pipe:
            json.dump(read(kind, path), pipe)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        answer = pipe.read()
    _, status, usage = os.wait4(pid, 0)
    outcome = json.loads(answer) if answer else [f"signal {os.WTERMSIG(status)}", ""]
    return [*outcome, usage.ru_maxrss / 1024, time.monotonic() - start]


if __name__ == "__main__":
    jobs = json.loads(Path(sys.argv[1]).read_text())
    load_backbone("miniature")  # what is imported late is then in memory
    print(json.dumps({name: apart(kind, Path(path)) for name, kind, path in jobs}))
