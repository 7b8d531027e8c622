"""What ends a run before its last step: a signal, or validations that find nothing better.

Signals are SIGTERM (clusters send it some seconds before they take the machine away), SIGHUP (the terminal was closed)
and Ctrl-C. The run saves its state after the current step; a second Ctrl-C ends it at once.
"""

import os
import signal
from dataclasses import dataclass, field
from types import FrameType
from typing import Self

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name))


class Terminated(Exception):  # noqa: N818 - nothing went wrong
    """The run was asked to end; a checkpoint of its last step lies in its folder."""


class StopRequest:
    """Whether the run was asked to end, and by which signal. While the context lasts, signals do no more than make it
    answer True when it is called. A signal that is ignored, as SIGHUP is below `nohup`, stays ignored."""

    def __init__(self) -> None:
        self.signal: int = 0
        self._terminals = [descriptor for descriptor in (0, 1, 2) if os.isatty(descriptor)]
        self._before = {number: signal.getsignal(number) for number in SIGNALS}

    def __enter__(self) -> Self:
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self.receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return bool(self.signal)

    @property
    def exit_status(self) -> int:
        """What a shell reports of a process that the signal ended, such as 143 for SIGTERM; the state is saved."""
        return 128 + self.signal

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        del frame
        again, self.signal = bool(self.signal), self.signal or number  # first: the next signal may come right here
        if number == signal.SIGINT and again:
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            os.write(2, b"\nsaving the state after this step, then stopping; Ctrl-C again stops at once\n")
        elif number == getattr(signal, "SIGHUP", None):
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in self._terminals:  # the terminal is gone: a progress bar could not be written there
                os.dup2(nowhere, descriptor)


@dataclass
class EarlyStopping:
    """The validations of a run: which was best, and whether to stop. A resumed run reads them from the metrics file."""

    patience: int = 0
    """Number of validations without a better value after which training stops. 0: never."""
    values: dict[int, float] = field(default_factory=dict)
    """The metric that is watched, of which more is better, after each validated step, in the order of steps."""

    def ranking(self) -> list[int]:
        """The validated steps, best first; of equal ones the earlier first."""
        return sorted(self.values, key=lambda step: -self.values[step])

    @property
    def best_step(self) -> int | None:
        """The first step that reached the best value; None before any validation."""
        return next(iter(self.ranking()), None)

    @property
    def should_stop(self) -> bool:
        """Whether the last `patience` validations found nothing better."""
        if not self.patience or self.best_step is None:
            return False
        return sum(step > self.best_step for step in self.values) >= self.patience
