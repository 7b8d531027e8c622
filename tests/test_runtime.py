"""What the process is told about memory."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from vitaclip.runtime import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for round in range(30):
    if round == 20:  # until then the heap may grow: a hole must be larger than the tensor, which is aligned
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(20_000_000)  # 80 MB, freed at once
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_kept_memory_is_not_faulted_in_again() -> None:
    faults = {
        way: int(subprocess.run([sys.executable, "-c", FAULTS, way], check=True, capture_output=True, text=True).stdout)
        for way in ("keep", "as it is")
    }
    assert faults["keep"] < 0.1 * faults["as it is"]
