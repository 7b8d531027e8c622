"""A process that reads one video gets so much memory and no more."""

import os
import subprocess
import sys

import pytest

from misbehaving import take
from vitaclip.data.workers.memory import MOST_BYTES
from vitaclip.data.workers.processes import run_in_processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit is the kernel's, and Linux alone has it")


def test_an_item_that_takes_too_much_fails_and_the_next_goes_on() -> None:
    sizes = [MOST_BYTES // 2, 2 * MOST_BYTES, 1000]
    endings = {o.item: (o.ending, o.problem[:11]) for o in run_in_processes(take, sizes, 1, 60.0)}
    assert endings == {sizes[0]: ("done", ""), sizes[1]: ("failed", "MemoryError"), 1000: ("done", "")}


PROGRAM = """
from misbehaving import take
from vitaclip.data.workers.memory import memory_limit
try:
    with memory_limit(1 << 28):
        take(1 << 29)
except MemoryError:
    print(take(1 << 29))
"""


def test_the_limit_ends_with_the_block() -> None:
    """In a process of its own: memory that other tests freed, and this process kept, would count as had."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(1 << 29)]
