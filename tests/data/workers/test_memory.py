"""A process that reads one video gets so much memory and no more."""

import sys

import pytest

from misbehaving import take
from vitaclip.data.workers.memory import MOST_BYTES, memory_limit
from vitaclip.data.workers.processes import run_in_processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit is the kernel's, and Linux alone has it")


def test_an_item_that_takes_too_much_fails_and_the_next_goes_on() -> None:
    sizes = [MOST_BYTES // 2, 2 * MOST_BYTES, 1000]
    endings = {o.item: (o.ending, o.problem[:11]) for o in run_in_processes(take, sizes, 1, 60.0)}
    assert endings == {sizes[0]: ("done", ""), sizes[1]: ("failed", "MemoryError"), 1000: ("done", "")}


def test_the_limit_ends_with_the_block() -> None:
    with pytest.raises(MemoryError), memory_limit(1 << 28):
        take(1 << 29)
    assert take(1 << 29) == 1 << 29
