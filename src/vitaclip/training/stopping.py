"""What ends a run before its last step: a signal, or validations that find nothing better."""

import os
import signal
from dataclasses import dataclass, field
from types import FrameType
from typing import Self


class Terminated(Exception):  # noqa: N818 - nothing went wrong
    """The run was asked to end; a checkpoint of its last step lies in its folder."""


class StopRequest:
    """Whether the run was asked to end, and by which signal: SIGTERM, which clusters send some seconds before they take
    the machine away, or Ctrl-C. While the context lasts, signals do no more than make it answer True when it is called;
    the run then saves its state after the current step. A second Ctrl-C ends it at once."""

    def __init__(self) -> None:
        self.signal: int = 0
        self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def __enter__(self) -> Self:
        for number in self._before:
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


@dataclass
class EarlyStopping:
    """The validations of a run: which was best, and whether to stop. A resumed run reads them from the metrics file."""

    patience: int = 0
    """Number of validations without a better value after which training stops. 0: never."""
    values: dict[int, float] = field(default_factory=dict)
    """The metric that is watched, of which more is better, after each validated step, in the order of steps."""

    @property
    def best_step(self) -> int | None:
        """The first step that reached the best value; None before any validation."""
        return max(self.values, key=lambda step: self.values[step], default=None)

    @property
    def should_stop(self) -> bool:
        """Whether the last `patience` validations found nothing better."""
        best = self.best_step
        return best is not None and 0 < self.patience <= sum(step > best for step in self.values)
