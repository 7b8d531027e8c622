"""What validation has said so far: which step was best, and whether to stop."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Validations:
    """The validations of a run. Its state is what the metrics file holds, so a resumed run has it back."""

    metric: str = "val/top1"
    """The figure to watch; more is better."""
    patience: int = 0
    """Validations without a better figure after which to stop. 0: never."""
    values: dict[int, float] = field(default_factory=dict)
    """The figure after each validated step, in their order."""

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take in the validation after `step` steps."""
        self.values[step] = metrics[self.metric]

    @property
    def best_step(self) -> int | None:
        """The first step with the best figure; None before any validation."""
        return next(iter(self.ranking()), None)

    def ranking(self) -> list[int]:
        """The validated steps, the best first; of equal ones the first."""
        return sorted(self.values, key=lambda step: -self.values[step])

    @property
    def exhausted(self) -> bool:
        """Whether the last `patience` validations brought nothing better."""
        if not self.patience or self.best_step is None:
            return False
        return sum(step > self.best_step for step in self.values) >= self.patience
