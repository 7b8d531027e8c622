"""A limit of the memory that reading one video may take, whatever the file says: beyond it the reading fails."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_BYTES = 2 << 30
"""More than the largest frames that `VideoLimits` lets through need, with all that a codec keeps of them."""


@contextmanager
def memory_limit(more: int = MOST_BYTES) -> Iterator[None]:
    """While the block runs, this process gets so many bytes above what it has; what would take more fails.

    Only for a process that does nothing else meanwhile. Elsewhere than on Linux there is no limit.
    """
    if sys.platform != "linux":
        yield
        return
    import resource  # Windows has none

    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    earlier, most = resource.getrlimit(resource.RLIMIT_AS)
    lower = [limit for limit in (has + more, earlier, most) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(lower), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (earlier, most))
