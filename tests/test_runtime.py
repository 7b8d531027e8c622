"""What the process is told about memory."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from vitaclip.runtime import keep_freed_memory

def faults():
    for round in range(30):
        if round == 20:  # until then the heap may grow: a hole must be larger than the tensor, which is aligned
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(20_000_000)  # 80 MB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

as_it_is = faults()
keep_freed_memory()
print(as_it_is, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_kept_memory_is_not_faulted_in_again() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True)
    as_it_is, kept = map(int, done.stdout.split())
    assert kept < 0.1 * as_it_is
