"""Ending a run on request: SIGTERM, which clusters send some seconds before they take the machine away."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EXIT_STATUS = 128 + signal.SIGTERM
"""143: what a shell reports of a process that SIGTERM ended; here the state was saved before."""


class Terminated(Exception):  # noqa: N818 - nothing went wrong
    """The run was asked to end; a checkpoint of its last step lies in its folder."""


@contextmanager
def termination() -> Iterator[Callable[[], bool]]:
    """While the context lasts SIGTERM does no more than make the function that it gives answer True."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGTERM, before)
